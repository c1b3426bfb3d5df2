import type { Mutant } from './mutant.ts';

/** Known bugs of what tells receivers what became of a task. */
export const CALLBACK_MUTANTS: readonly Mutant[] = [
  {
    name: 'ack-before-send',
    breaks: 'an event counts as delivered before anybody has it',
    row: 'H1',
    edits: [
      {
        file: 'src/callbacks/deliver.ts',
        find: '  const answer = await tell(deps, due, signal).catch(',
        replace:
          "  deps.ended.set(entry.id, 'delivered');\n  deps.changed(task, entry, 'delivered');\n  const answer = await tell(deps, due, signal).catch(",
      },
    ],
  },
  {
    name: 'one-host-takes-all',
    breaks: 'a receiver that hangs gets every event at once',
    row: 'H2',
    edits: [
      {
        file: 'src/callbacks/deliver.ts',
        find: 'const PER_ENDPOINT = 4;',
        replace: 'const PER_ENDPOINT = 400;',
      },
    ],
  },
  {
    name: 'retry-after-ignored',
    breaks: 'a receiver that asks for time is tried again by the own schedule',
    row: 'H2/busy',
    edits: [
      {
        file: 'src/callbacks/deliver.ts',
        find: 'Math.max(retryAfterMs, backoffMs(',
        replace: 'Math.min(retryAfterMs, backoffMs(',
      },
    ],
  },
  {
    name: 'redirect-is-success',
    breaks: 'a redirect counts as delivered',
    row: 'H3',
    edits: [
      {
        file: 'src/callbacks/send.ts',
        find: 'if (status >= 200 && status < 300)',
        replace: 'if (status >= 200 && status < 400)',
      },
    ],
  },
  {
    name: 'gone-is-tried-again',
    breaks: '410 is a failure like any other',
    row: 'H4',
    edits: [
      { file: 'src/callbacks/send.ts', find: 'if (status === GONE)', replace: 'if (status === -GONE)' },
    ],
  },
  {
    name: 'reset-is-success',
    breaks: 'an answer that breaks off counts as delivered',
    row: 'H5',
    edits: [
      {
        file: 'src/callbacks/send.ts',
        find: "    return { is: 'failed', why: bound.aborted",
        replace:
          "    if (code === 'UND_ERR_SOCKET' || code === 'ECONNRESET') return { is: 'delivered' };\n    return { is: 'failed', why: bound.aborted",
      },
    ],
  },
  {
    name: 'end-first',
    breaks: 'of the waiting events of a task the last is sent first',
    row: 'H6',
    edits: [
      {
        file: 'src/callbacks/deliver.ts',
        find: 'before.sequence <= entry.sequence',
        replace: 'before.sequence >= entry.sequence',
      },
    ],
  },
  {
    name: 'end-holds-nothing',
    breaks: 'a deleted task is let go of before its end was told',
    row: 'H7',
    edits: [
      {
        file: 'src/reconcilers/task/hold.ts',
        find: 'return isTerminal(status?.phase) && (status?.outbox ?? []).every(({ id }) => callbacks.has(id));',
        replace: 'return isTerminal(status?.phase) && callbacks.size >= 0;',
      },
    ],
  },
  {
    name: 'chatty-payload',
    breaks: 'an event carries the annotations of the task',
    row: 'H8',
    edits: [
      {
        file: 'src/callbacks/payload.ts',
        find: '      model: task.spec.model,',
        replace: '      annotations: task.metadata.annotations,\n      model: task.spec.model,',
      },
    ],
  },
  {
    name: 'one-secret',
    breaks: 'only the newest secret signs',
    row: 'H9',
    edits: [
      {
        file: 'src/callbacks/sign.ts',
        find: "[await read('secret'), await read('previous')]",
        replace: "[await read('secret')]",
      },
    ],
  },
  {
    name: 'replay-is-new',
    breaks: 'a replayed event has another id',
    row: 'H10',
    edits: [
      {
        file: 'src/callbacks/replay.ts',
        find: 'outboxEntry(uid, {',
        replace: 'outboxEntry(`${uid}/again`, {',
      },
    ],
  },
  {
    name: 'answer-read-to-its-end',
    breaks: 'a delivery counts only when the whole answer has come',
    row: 'H2/drip',
    edits: [
      {
        file: 'src/callbacks/send.ts',
        find: 'await said.dump({ limit: MAX_ANSWER_BYTES }).catch(() => undefined);',
        replace: 'await said.text();',
      },
    ],
  },
  {
    name: 'given-up-holds-back',
    breaks: 'an event that was given up stays in the outbox, before those that follow',
    row: 'H6/given-up',
    edits: [
      {
        file: 'src/callbacks/deliver.ts',
        find: 'if (ended.has(entry.id) || (before',
        replace: "if (ended.get(entry.id) === 'delivered' || (before",
      },
      {
        file: 'src/reconcilers/task/outbox.ts',
        find: 'filter(({ id }) => !seen.callbacks.has(id))',
        replace: "filter(({ id }) => seen.callbacks.get(id) !== 'delivered')",
      },
    ],
  },
  {
    name: 'tried-for-ever',
    breaks: 'an event that cannot be delivered is never given up',
    row: 'H7/deadline',
    edits: [
      {
        file: 'src/callbacks/deliver.ts',
        find: "answer.is === 'refused' || ageMs > patienceMs ?",
        replace: "answer.is === 'refused' || ageMs > patienceMs + ageMs ?",
      },
    ],
  },
  {
    name: 'id-of-the-delivery',
    breaks: 'an event that is delivered again has another id',
    row: 'A4',
    edits: [
      {
        file: 'src/callbacks/deliver.ts',
        find: 'const body = payloadOf(task, entry);',
        replace:
          'const event = { ...entry, id: `${entry.id}-${now.getTime()}` };\n  const body = payloadOf(task, event);',
      },
      {
        file: 'src/callbacks/deliver.ts',
        find: 'signatureHeaders(entry.id, now',
        replace: 'signatureHeaders(event.id, now',
      },
    ],
  },
  {
    name: 'old-leader-sends-on',
    breaks: 'whoever delivers callbacks does not notice that the lease is lost',
    row: 'E2/callbacks',
    edits: [
      { file: 'src/callbacks/deliver.ts', find: '  if (!deps.mayAct()) return;\n', replace: '' },
      {
        file: 'src/programs/program.ts',
        find: 'AbortSignal.any([signal, lost, failed.signal])',
        replace: 'AbortSignal.any([signal, failed.signal])',
      },
    ],
  },
];
