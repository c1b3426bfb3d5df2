import { afterEach, before, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXIT } from '../api/request.ts';
import { aRequest, aStore, GOOD_MODEL, RECORDINGS } from './testing/fixtures.ts';
import type { TestPod, TestStore } from './testing/fixtures.ts';
import { readPlan } from './testing/staged.ts';

async function ran(pod: TestPod): Promise<TestPod> {
  await pod.step('prepare');
  await pod.loop();
  return pod;
}

describe('a volume that fails', () => {
  let mountPoint: string;
  let store: TestStore;

  before(() => {
    assert.equal(process.getuid?.(), 0, 'this test needs root, to mount small volumes');
  });
  beforeEach(async () => {
    mountPoint = await mkdtemp(join(tmpdir(), 'volume-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', mountPoint]);
    store = await aStore(mountPoint);
    await store.put(`${RECORDINGS}/a.wav`);
  });
  afterEach(async () => {
    execFileSync('umount', ['--lazy', mountPoint]);
    await store.remove();
  });

  /** Fills the volume to its last byte. */
  async function fill(): Promise<void> {
    await writeFile(join(mountPoint, 'filler'), Buffer.alloc(8 * 1024 * 1024)).catch((error: unknown) => {
      assert.ok(error instanceof Error && 'code' in error && error.code === 'ENOSPC', String(error));
    });
  }

  async function nothingPublished(): Promise<void> {
    await assert.rejects(stat(store.path('outputs/result')), { code: 'ENOENT' });
  }

  it('ends prepare with Storage when it is full, and leaves no plan', async () => {
    await fill();
    const pod = store.pod(aRequest());
    const { code, report } = await pod.step('prepare');
    assert.equal(code, EXIT.storage);
    assert.equal(report.category, 'Storage');
    assert.match(report.message, /the volume is full: free space or enlarge the claim \(ENOSPC/);
    assert.equal(await readPlan(join(pod.staging, 'plan.json')), undefined);
  });

  it('ends publish with Storage when there is no room for the manifest', async () => {
    const pod = await ran(store.pod(aRequest()));
    await fill();
    const { code, report } = await pod.step('publish');
    assert.equal(code, EXIT.storage);
    assert.match(report.message, /the volume is full/);
    await nothingPublished();
  });

  it('explains a failed model with the full volume', async () => {
    const command = ['sh', '-c', 'head -c 9000000 /dev/zero >"$2"', 'model', '{input}', '{output}'];
    const pod = await ran(store.pod(aRequest({ command })));
    const { code, report } = await pod.step('publish');
    assert.equal(code, EXIT.storage);
    assert.equal(report.category, 'Storage');
    assert.match(
      report.message,
      /The volume is full \(0 of 4194304 bytes free\): free space or enlarge the claim/,
    );
    await nothingPublished();
  });

  it('publishes when space was freed and the pod is tried again', async () => {
    const pod = await ran(store.pod(aRequest()));
    await fill();
    await pod.step('publish');
    execFileSync('rm', [join(mountPoint, 'filler')]);
    assert.equal((await pod.step('publish')).code, EXIT.ok);
  });

  it('ends prepare with Storage on a read-only volume', async () => {
    execFileSync('mount', ['-o', 'remount,ro', mountPoint]);
    const { code, report } = await store.pod(aRequest()).step('prepare');
    assert.equal(code, EXIT.storage);
    assert.match(report.message, /mounted read-only: ask the administrator/);
  });

  it('ends publish with Storage when the volume became read-only', async () => {
    const pod = await ran(store.pod(aRequest({ command: GOOD_MODEL })));
    execFileSync('mount', ['-o', 'remount,ro', mountPoint]);
    const { code } = await pod.step('publish');
    assert.equal(code, EXIT.storage);
    await nothingPublished();
  });
});
