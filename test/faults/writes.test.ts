import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { type Operator, startOperator } from '../support/operator.ts';
import { assertHistory, type Bench, isWriteOf, nth, openBench, runTask } from './bench.ts';
import type { Fault } from './proxy.ts';

/** The writes of one task that is seen waiting, running and done, in their order. */
const WRITES = ['claim', 'create the Job', 'record the Job', 'report Running', 'finish'];

/** The moments at which a process can die around a write. */
const CRASHES: Readonly<Record<string, Fault>> = {
  'before the request was sent': { do: 'drop-request' },
  'after it was carried out, before the answer': { do: 'drop-response' },
};

describe('A1: the operator is killed around each write of a task', () => {
  let bench: Bench;
  let operator: Operator;
  const start = () => startOperator({ kubeconfig: bench.proxy.kubeconfig, namespace: bench.lab.namespace });

  before(async () => {
    bench = await openBench('crash');
    operator = await start();
  });
  after(async () => {
    await operator.stop();
    await bench.proxy.close();
  });

  it('an undisturbed task takes exactly these writes', async () => {
    const history = await runTask(bench, 'reference');
    await assertHistory(bench, 'reference', history);
    const writes = bench.proxy.log.filter(isWriteOf('reference'));
    const shown = writes
      .map(({ method, status, body }) => `${method} ${status} ${body.slice(-900)}`)
      .join('\n');
    assert.equal(writes.length, WRITES.length, shown);
  });

  for (const [index, write] of WRITES.entries()) {
    for (const [moment, fault] of Object.entries(CRASHES)) {
      it(`${write}: killed ${moment}`, async () => {
        const name = `w${index}-${fault.do}`;
        const killed = Promise.withResolvers<void>();
        const onHit = () => void operator.stop('SIGKILL').then(() => killed.resolve(), killed.reject);
        bench.proxy.inject({ matches: nth(isWriteOf(name), index + 1), fault, onHit });
        const running = runTask(bench, name);
        await killed.promise;
        operator = await start();
        await assertHistory(bench, name, await running);
      });
    }
  }
});

/** Answers whose meaning is "try again", "slow down" or "nobody knows what happened". */
const FAULTS: Readonly<Record<string, Fault>> = {
  'D3 429 with Retry-After': { do: 'reply', status: 429, reason: 'TooManyRequests', retryAfterSeconds: 1 },
  'D4 500': { do: 'reply', status: 500, reason: 'InternalError' },
  'D4 503': { do: 'reply', status: 503, reason: 'ServiceUnavailable' },
  'D4 504': { do: 'reply', status: 504, reason: 'Timeout' },
  'D4 reset before it was carried out': { do: 'drop-request' },
  'D4 reset after it was carried out': { do: 'drop-response' },
  'D1 409 Conflict': { do: 'reply', status: 409, reason: 'Conflict' },
};

describe('each write of a task meets a fault of the API server', () => {
  let bench: Bench;
  let operator: Operator;

  before(async () => {
    bench = await openBench('fault');
    operator = await startOperator({ kubeconfig: bench.proxy.kubeconfig, namespace: bench.lab.namespace });
  });
  after(async () => {
    await operator.stop();
    await bench.proxy.close();
  });

  for (const [number, [fault, what]] of Object.entries(FAULTS).entries()) {
    it(`${fault}: every write in turn, one Job, one verdict`, async () => {
      const names = WRITES.map((_, index) => `f${number}-${index}`);
      for (const [index, name] of names.entries()) {
        bench.proxy.inject({ matches: nth(isWriteOf(name), index + 1), fault: what });
      }
      const histories = await Promise.all(names.map((name) => runTask(bench, name)));
      for (const [index, history] of histories.entries())
        await assertHistory(bench, names[index] ?? '', history);
    });
  }

  it('C1 a watch says 410 in the stream, again and again: nothing is missed', async () => {
    const watches = (plural: string) => (request: { isWatch: boolean; path: string }) =>
      request.isWatch && request.path.includes(`/${plural}?`);
    for (const plural of ['analysistasks', 'jobs', 'pods'])
      bench.proxy.inject({ matches: watches(plural), fault: { do: 'gone' } });
    bench.proxy.cutWatches();
    await assertHistory(bench, 'gone', await runTask(bench, 'gone'));
  });

  it('C6 every watch is reset while a task runs: nothing is missed', async () => {
    const running = runTask(bench, 'cut');
    const cutting = setInterval(() => bench.proxy.cutWatches(), 500);
    const history = await running.finally(() => clearInterval(cutting));
    await assertHistory(bench, 'cut', history);
  });

  it('writes nothing more once every task has settled', async () => {
    const writes = () =>
      bench.proxy.log.filter(
        ({ method, path }) => method !== 'GET' && !path.includes('/leases/') && !path.includes('/events'),
      ).length;
    const earlier = writes();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assert.equal(writes(), earlier);
  });
});
