import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { mapFiles, statOpen } from './file-access.ts';
import type { FileAccess } from './file-access.ts';

const THIS = fileURLToPath(import.meta.url);
const MANY = Array.from({ length: 40 }, (_, index) => index);

async function startOf(file: string, access: FileAccess): Promise<string> {
  const fd = await access.open(file);
  try {
    assert.ok(statOpen(fd).isFile());
    const buffer = Buffer.alloc(6);
    assert.equal(await access.read(fd, buffer, 0), 6);
    return buffer.toString();
  } finally {
    await access.close(fd);
  }
}

/** Waits for the system, as a file on a server makes one wait. */
function wait(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}

describe('mapFiles()', () => {
  it('keeps the order, on the calling thread where files answer at once', async () => {
    const accesses = new Set<FileAccess>();
    const starts = await mapFiles(MANY, async (index, access) => {
      accesses.add(access);
      return `${index} ${await startOf(THIS, access)}`;
    });
    assert.deepEqual(
      starts,
      MANY.map((index) => `${index} import`),
    );
    assert.equal(accesses.size, 1);
  });

  it('keeps the order, with many in flight where each file makes one wait', async () => {
    const accesses = new Set<FileAccess>();
    let inFlight = 0;
    let most = 0;
    const starts = await mapFiles(MANY, async (index, access) => {
      accesses.add(access);
      if (accesses.size === 1) wait();
      most = Math.max(most, ++inFlight);
      const start = await startOf(THIS, access);
      inFlight--;
      return `${index} ${start}`;
    });
    assert.deepEqual(
      starts,
      MANY.map((index) => `${index} import`),
    );
    assert.equal(accesses.size, 2);
    assert.ok(most > 16, `${most} in flight`);
  });

  it('ends with the error of a file', async () => {
    await assert.rejects(
      mapFiles(MANY, (_, access) => startOf('/nowhere', access)),
      { code: 'ENOENT' },
    );
  });
});
