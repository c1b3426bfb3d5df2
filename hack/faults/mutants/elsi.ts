import type { Mutant } from './mutant.ts';

/** Known bugs of what happens between this program and ELSI. */
export const ELSI_MUTANTS: readonly Mutant[] = [
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
  {
    name: 'outage-ends-it',
    breaks: 'elsi-sync ends when ELSI cannot be listed',
    row: 'J0',
    edits: [
      {
        file: 'src/elsi/loop.ts',
        find: '    failures = error === undefined ? 0 : failures + 1;',
        replace: '    if (error !== undefined) throw error;\n    failures = 0;',
      },
    ],
  },
  {
    name: 'refused-token-is-kept',
    breaks: 'a token that ELSI refused is used again',
    row: 'J1',
    edits: [
      {
        file: 'src/elsi/session.ts',
        find: 'if (current?.token === token) current = undefined;',
        replace: 'if (current?.token !== token) current = undefined;',
      },
    ],
  },
  {
    name: 'rejected-in-silence',
    breaks: 'ELSI is not told of a task that cannot be run',
    row: 'J4',
    edits: [
      {
        file: 'src/elsi/plan.ts',
        find: "[{ do: 'reject', uid, tell: true, problem: wanted.problem }]",
        replace: "[{ do: 'reject', uid, tell: false, problem: wanted.problem }]",
      },
    ],
  },
  {
    name: 'vanished-is-forgotten',
    breaks: 'a task that ended after it vanished from the list is never looked up',
    row: 'J7',
    edits: [
      {
        file: 'src/elsi/plan.ts',
        find: "if (isTerminal(run.status?.phase)) return acknowledged(run) ? [] : [{ do: 'look', uid, run }];",
        replace: 'if (isTerminal(run.status?.phase)) return [];',
      },
    ],
  },
  {
    name: 'rounds-by-the-clock',
    breaks: 'a round begins when its time has come, whether the last one has ended or not',
    row: 'J9',
    edits: [
      {
        file: 'src/elsi/loop.ts',
        find: 'const error = await deps.round(signal).then(',
        replace:
          'const error = await Promise.race([deps.round(signal), delay(deps.clock, deps.intervalMs, signal)]).then(',
      },
    ],
  },
  {
    name: 'taken-name-is-evaded',
    breaks: 'a run whose name is taken gets another name',
    row: 'J10',
    edits: [
      {
        file: 'src/elsi/round.ts',
        find: '  await deps.tasks.create(object, { signal });',
        replace:
          '  await deps.tasks.create(object, { signal }).catch((error: unknown) => {\n    if (!isAlreadyExists(error)) throw error;\n    const metadata = { ...object.metadata, name: runName(uid, 2) };\n    return deps.tasks.create({ ...object, metadata }, { signal });\n  });',
      },
      {
        file: 'src/elsi/round.ts',
        find: 'import { runOf, type RunSettings,',
        replace: 'import { runName, runOf, type RunSettings,',
      },
    ],
  },
  {
    name: 'told-is-told',
    breaks: 'an end that ELSI has shown once is not told again, whatever it shows later',
    row: 'J11',
    edits: [
      {
        file: 'src/elsi/plan.ts',
        find: '  return [put(task, run, want)];\n}\n\nexport function acknowledged',
        replace:
          '  return acknowledged(run) ? [] : [put(task, run, want)];\n}\n\nexport function acknowledged',
      },
    ],
  },
];
