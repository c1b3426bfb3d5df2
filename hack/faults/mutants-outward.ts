import type { Mutant } from './mutant-list.ts';

/** Known bugs of what goes outward: callbacks and ELSI. */
export const OUTWARD_MUTANTS: readonly Mutant[] = [
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
    name: 'token-for-ever',
    breaks: 'a token is used until it is refused',
    row: 'J1/renewal',
    edits: [{ file: 'src/elsi/session.ts', find: 'const SHARE = 0.8;', replace: 'const SHARE = 100;' }],
  },
  {
    name: 'answer-in-log',
    breaks: 'what ELSI says with an error goes into the log',
    row: 'J2',
    edits: [
      {
        file: 'src/elsi/http.ts',
        find: 'await answer.dump({ limit: MAX_PAGE_BYTES }).catch(() => undefined);',
        replace: 'const said = await answer.text();',
      },
      {
        file: 'src/elsi/http.ts',
        find: 'ELSI answered ${status}`',
        replace: 'ELSI answered ${status} ${said}`',
      },
    ],
  },
  {
    name: 'one-bad-item-spoils-all',
    breaks: 'an item that cannot be read makes the whole list unreadable',
    row: 'J3/bad-items',
    edits: [
      {
        file: 'src/elsi/client.ts',
        find: '      badItems++;',
        replace: "      badItems++;\n      problem ??= new Error('an item cannot be read');",
      },
    ],
  },
  {
    name: 'blind-trust',
    breaks: 'an end counts as shown because its PUT was answered',
    row: 'J5/lie',
    edits: [
      {
        file: 'src/elsi/round.ts',
        find: 'await deps.elsi.put(uid, { status, estimatedSeconds: seconds }, signal);',
        replace:
          'await deps.elsi.put(uid, { status, estimatedSeconds: seconds }, signal);\n    if (run && isFinal(status)) return acknowledge(deps, run, { shown: status, signal });',
      },
    ],
  },
  {
    name: 'pending-runs-again',
    breaks: 'a task that shows PENDING after COMPLETED runs once more',
    row: 'J6',
    edits: [
      {
        file: 'src/elsi/plan.ts',
        find: "if (acknowledged(run) && want === 'FAILED' && task.status === 'PENDING')",
        replace: "if (acknowledged(run) && task.status === 'PENDING')",
      },
    ],
  },
  {
    name: 'absence-cancels',
    breaks: 'a task that one list does not name is taken for gone',
    row: 'J8',
    edits: [
      {
        file: 'src/elsi/missing.ts',
        find: 'const BELIEVED_AFTER = 3;',
        replace: 'const BELIEVED_AFTER = 1;',
      },
    ],
  },
  {
    name: 'told-after-letting-go',
    breaks: 'a run is let go of before ELSI was told its end',
    row: 'A5',
    edits: [
      {
        file: 'src/elsi/round.ts',
        find: '  if (rankOf(before.status) < rankOf(status)) {',
        replace:
          '  if (run && isFinal(status)) await acknowledge(deps, run, { shown: status, signal });\n  if (rankOf(before.status) < rankOf(status)) {',
      },
    ],
  },
  {
    name: 'nothing-held-for-elsi',
    breaks: 'an AnalysisTask of ELSI is made without its finalizer',
    row: 'A6',
    edits: [{ file: 'src/elsi/run.ts', find: 'finalizers: [FINALIZER.elsi],', replace: 'finalizers: [],' }],
  },
  {
    name: 'old-leader-tells-on',
    breaks: 'elsi-sync does not notice that it leads no longer',
    row: 'E2/elsi',
    edits: [
      {
        file: 'src/programs/elsi-sync.ts',
        find: '    mayAct: isFresh,',
        replace: '    mayAct: () => isFresh() || true,',
      },
      {
        file: 'src/programs/program.ts',
        find: 'AbortSignal.any([signal, lost, failed.signal])',
        replace: 'AbortSignal.any([signal, failed.signal])',
      },
    ],
  },
];
