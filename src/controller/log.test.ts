import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'mocha';
import type { LogOptions } from './log.ts';
import { createLog } from './log.ts';

function aLog(options: LogOptions = {}) {
  let written = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += String(chunk);
      setTimeout(done, 1);
    },
  });
  const log = createLog({ level: 'info', format: 'json', stream, ...options });
  const lines = async (): Promise<string[]> => {
    await log.flush();
    return written.split('\n').slice(0, -1);
  };
  const entries = async (): Promise<Record<string, unknown>[]> =>
    (await lines()).map((line) => JSON.parse(line));
  return { log, lines, entries };
}

describe('log', () => {
  it('writes one JSON line per entry, with the fields of its parents', async () => {
    const { log, entries } = aLog();
    log
      .child({ controller: 'task' })
      .child({ key: 'lab/a' })
      .info('Created Job', { attempt: 1, controller: 'own' });
    const [{ time, ...entry } = {}] = await entries();
    assert.match(String(time), /^\d{4}-.*Z$/);
    assert.deepEqual(entry, {
      level: 'info',
      message: 'Created Job',
      controller: 'own',
      key: 'lab/a',
      attempt: 1,
    });
  });

  it('keeps to its level', async () => {
    const { log, lines } = aLog({ level: 'WARN' });
    log.debug('no');
    log.info('no');
    log.warn('yes');
    log.error('yes');
    assert.equal((await lines()).length, 2);
    assert.equal(log.isDebugEnabled(), false);
  });

  it('refuses a level it does not know', () => {
    assert.throws(
      () => aLog({ level: 'loud' }),
      /LOG_LEVEL must be one of error, warn, info, debug: current value is "loud"/,
    );
  });

  it('tells errors with their causes and codes', async () => {
    const { log, entries } = aLog();
    log.error('Failed', {
      error: Object.assign(new Error('outer', { cause: new Error('inner') }), { code: 409 }),
    });
    const [entry] = await entries();
    const error = entry?.['error'] as {
      message: string;
      code: number;
      cause: { message: string };
      stack: string;
    };
    assert.deepEqual([error.message, error.code, error.cause.message], ['outer', 409, 'inner']);
    assert.match(error.stack, /log\.test/);
  });

  it('survives what cannot be written: cycles, big integers, endless strings', async () => {
    const { log, entries } = aLog();
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    log.info('cycle', { cycle });
    log.info('big', { big: 10n ** 20n, long: 'x'.repeat(100_000) });
    const [first, second] = await entries();
    assert.match(String(first?.['logError']), /circular/i);
    assert.equal(second?.['big'], '100000000000000000000');
    assert.ok(String(second?.['long']).length < 10_000);
  });

  it('lets no field pass itself off as the message or a second line', async () => {
    const { log, entries, lines } = aLog();
    log.info('Real', { message: 'forged', level: 'error', name: 'a\n{"level":"error"}' });
    assert.equal((await lines()).length, 1);
    const [entry] = await entries();
    assert.deepEqual([entry?.['level'], entry?.['message']], ['info', 'Real']);
  });

  it('writes text for people, with control characters made visible', async () => {
    const { log, lines } = aLog({ format: 'text' });
    log.warn('Odd name', { key: 'lab/a', name: 'x\u001b[31mred', count: 3 });
    const [line = ''] = await lines();
    assert.match(line, /^\d\d:\d\d:\d\d\.\d{3} WARN {2}Odd name key=lab\/a name="x\\u001b\[31mred" count=3$/);
  });

  it('flush() waits for a slow stream', async () => {
    const { log, lines } = aLog();
    for (let i = 0; i < 50; i++) log.info('line', { i });
    assert.equal((await lines()).length, 50);
  });
});
