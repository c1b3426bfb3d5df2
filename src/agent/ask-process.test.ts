import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askProcess } from './ask-process.ts';

describe('askProcess()', () => {
  let place: string;
  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), 'ask-'));
  });
  afterEach(() => rm(place, { recursive: true, force: true }));

  async function ask(script: string, signal = new AbortController().signal) {
    const main = join(place, 'main.mjs');
    await writeFile(main, script);
    const program = { main, storeRoot: '/store', milliseconds: 30_000, leastIdleSeconds: 600 };
    const { output, gone } = askProcess(program, 'survey', { body: '{"a":1}', signal });
    const said = await output;
    await gone;
    return said;
  }
  const unanswered = (said: unknown) =>
    assert.match(JSON.stringify(said), /no answer within 30000 ms and 384 MiB/);

  it('passes the question, its limits and the body, and no environment', async () => {
    // Node hands NODE_V8_COVERAGE down whatever the environment is; it is there when coverage is measured.
    const said = await ask(`
      let body = '';
      for await (const chunk of process.stdin) body += chunk;
      const environment = Object.keys(process.env).filter((name) => name !== 'NODE_V8_COVERAGE');
      console.log(JSON.stringify({ answer: [process.argv.slice(2), body, environment] }));`);
    const args = ['agent', 'answer', 'survey', '--store', '/store'];
    const limits = ['--milliseconds', '30000', '--least-idle-seconds', '600'];
    assert.deepEqual(said, { answer: [[...args, ...limits], '{"a":1}', []] });
  });

  it('bounds the memory of the process', async () => {
    unanswered(await ask('const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));'));
  });

  it('bounds the length of the answer', async () => {
    unanswered(await ask(`process.stdout.write(JSON.stringify({ answer: 'x'.repeat(2e6) }))`));
  });

  it('takes nothing else for an answer', async () => {
    unanswered(await ask('console.log("hello")'));
    unanswered(await ask('process.exit(3)'));
  });

  it('kills the process when nobody waits any more', async () => {
    unanswered(await ask('setInterval(() => {}, 1000)', AbortSignal.timeout(200)));
  });
});
