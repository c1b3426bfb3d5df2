import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type AgentRequest, agentRequest } from '../../../api/request.ts';
import type { SurveyAnswer } from '../../../api/store.ts';
import type { Log, LogFields } from '../../../controller/log.ts';
import { createManualClock, settleTasks } from '../../../controller/testing/manual-clock.ts';
import { requestOf } from '../../../jobs/request.ts';
import { aModel, aTask } from '../../../jobs/testing/fixtures.ts';
import { createStoreBook } from './book.ts';
import { type StoreClient, StoreError } from './client.ts';

const READY: SurveyAnswer = { v: 1, verdict: 'Ready', message: 'fine' };

function question(uid: string): AgentRequest {
  const request = requestOf({ task: aTask(), model: aModel(), attempt: 1, parameters: {} }, '1');
  return { ...request, task: { ...request.task, uid } };
}

/** A book whose agents answer when the test says so. The real client has tests of its own. */
function aBook() {
  const clock = createManualClock();
  const told: string[] = [];
  const changed: string[] = [];
  const pending: { uid: string; resolve: (answer: SurveyAnswer) => void; reject: (error: Error) => void }[] =
    [];
  const note = (level: string) => (message: string, fields?: LogFields) =>
    void told.push(`${level}: ${message} ${String(fields?.['namespace'])}`);
  const log: Log = {
    debug: () => undefined,
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    isDebugEnabled: () => false,
    child: () => log,
    flush: () => Promise.resolve(),
  };
  const client: StoreClient = {
    ask: (_namespace, _question, { body, answer }) =>
      new Promise<unknown>((resolve, reject) => {
        pending.push({ uid: agentRequest.parse(body).task.uid, resolve, reject });
      }).then((value) => answer.parse(value)),
    close: () => Promise.resolve(),
  };
  const book = createStoreBook({
    client,
    timeoutMs: 20_000,
    changed: (uid) => changed.push(uid),
    clock,
    log,
    signal: new AbortController().signal,
    random: () => 0,
  });
  const end = async (how: SurveyAnswer | Error) => {
    const asking = pending.shift();
    assert.ok(asking, 'a question is on the way');
    if (how instanceof Error) asking.reject(how);
    else asking.resolve(how);
    await settleTasks();
  };
  const look = (uid = 'a', namespace = 'lab') => {
    const seen = book.look(namespace, question(uid));
    return seen.is === 'answered' ? `${seen.answer.verdict}, again in ${seen.recheckMs / 1000} s` : seen.is;
  };
  return { clock, told, changed, pending, book, end, look };
}

const DOWN = new StoreError('agent', 'connect ECONNREFUSED');
const CANNOT_TELL = new StoreError('question', 'no answer within 15000 ms');

describe('createStoreBook()', () => {
  it('asks once, waits for nobody, and brings the task back with the answer', async () => {
    const { look, end, changed, pending } = aBook();
    assert.equal(look(), 'asked');
    assert.equal(look(), 'asked');
    assert.equal(pending.length, 1);
    await end(READY);
    assert.deepEqual(changed, ['a']);
    assert.equal(look(), 'Ready, again in 20 s');
  });

  it('asks about a long wait less and less often', async () => {
    const { look, end, clock } = aBook();
    const pauses: string[] = [];
    for (let count = 0; count < 7; count++) {
      assert.equal(look(), 'asked');
      await end({ ...READY, verdict: 'RequirementsMissing' });
      pauses.push(/\d+/.exec(look())?.[0] ?? '');
      await clock.advance(Number(pauses.at(-1)) * 1000);
    }
    assert.deepEqual(pauses, ['20', '40', '80', '160', '320', '600', '600']);
  });

  it('forgets a task that is gone', async () => {
    const { look, end, book, pending } = aBook();
    look();
    await end(READY);
    book.forget('a');
    assert.equal(look(), 'asked');
    assert.equal(pending.length, 1);
  });

  it('lets a task start when the agent cannot tell, and still asks about others', async () => {
    const { look, end, told } = aBook();
    look();
    await end(CANNOT_TELL);
    assert.equal(look(), 'unknown');
    assert.equal(look('b'), 'asked');
    assert.deepEqual(told, []);
  });

  it('says once that an agent is down, leaves it alone for a while, and says once that it is back', async () => {
    const { look, end, told, clock, pending } = aBook();
    look();
    look('b');
    await end(DOWN);
    await end(DOWN);
    for (const uid of ['a', 'b', 'c']) assert.equal(look(uid), 'unknown');
    assert.equal(pending.length, 0);
    await clock.advance(130_000);
    assert.equal(look('c'), 'asked');
    await end(DOWN);
    await clock.advance(300_000);
    assert.equal(look('c'), 'asked');
    await end(READY);
    assert.deepEqual(told, [
      'warn: The store agent does not answer: tasks start without its check lab',
      'info: The store agent answers again lab',
    ]);
  });

  it('tells the agents of namespaces apart', async () => {
    const { look, end } = aBook();
    look();
    await end(DOWN);
    assert.equal(look('b', 'other'), 'asked');
  });

  it('has few questions on the way at once; those that waited too long for their turn start without', async () => {
    const { look, end, pending, clock, changed } = aBook();
    for (let index = 0; index < 20; index++) assert.equal(look(`t${index}`), 'asked');
    assert.equal(pending.length, 8);
    await end(READY);
    assert.equal(pending.length, 8);
    await clock.advance(21_000);
    await end(CANNOT_TELL);
    assert.equal(pending.length, 7, 'nothing of the queue was sent any more');
    assert.equal(changed.length, 13);
    assert.equal(look('t19'), 'unknown');
  });
});
