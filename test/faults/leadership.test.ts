import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { eventually } from '../support/eventually.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { assertHistory, type Bench, openBench, runTask } from './bench.ts';

describe('leadership', () => {
  let bench: Bench;
  const operators: Operator[] = [];
  const start = async (): Promise<Operator> => {
    const operator = await startOperator({
      kubeconfig: bench.proxy.kubeconfig,
      namespace: bench.lab.namespace,
    });
    operators.push(operator);
    return operator;
  };
  const leads = (operator: Operator) =>
    eventually(
      'it leads',
      () => (operator.log().some((line) => line.includes('Became leader')) ? true : undefined),
      30_000,
    );

  before(async () => {
    bench = await openBench('lead');
  });
  after(async () => {
    await Promise.all(operators.map((operator) => operator.stop()));
    await bench.proxy.close();
  });

  it('E1 a leader that was frozen past its lease is replaced, and exits when it wakes up', async () => {
    const first = await start();
    await leads(first);
    const second = await start();
    const running = runTask(bench, 'frozen');
    first.signal('SIGSTOP');
    await leads(second);
    const history = await running;
    first.signal('SIGCONT');
    assert.equal(await first.exited(), 1, 'it says that it lost the lease');
    await assertHistory(bench, 'frozen', history);
  });

  it('a clean stop hands the lease over at once', async () => {
    const second = operators.at(-1);
    const third = await start();
    assert.equal(await second?.stop(), 0);
    await leads(third);
    await assertHistory(bench, 'handed-over', await runTask(bench, 'handed-over'));
  });
});
