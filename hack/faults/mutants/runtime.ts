import type { Mutant } from './mutant.ts';

const INFORMER = 'src/controller/informer.ts';
const TRANSPORT = 'src/controller/transport.ts';

/** Known bugs of what talks to the API server: watches, connections, answers that are no success. */
export const RUNTIME_MUTANTS: readonly Mutant[] = [
  {
    name: 'error-event-skipped',
    breaks: 'an ERROR in a watch is passed over, and so is the event in whose place it came',
    row: 'C1/middle',
    edits: [
      {
        file: 'src/controller/watch-stream.ts',
        find: 'throw watchErrorOf(path, object);',
        replace: "return { type: 'BOOKMARK', resourceVersion: '0' };",
      },
    ],
  },
  {
    name: 'too-old-goes-on',
    breaks: 'a watch that is too old for the API server is begun again where it stood',
    row: 'C2',
    edits: [
      {
        file: INFORMER,
        find: "if (why !== 'error') this.#version = undefined;",
        replace: "if (why === 'garbage') this.#version = undefined;",
      },
    ],
  },
  {
    name: 'past-is-believed',
    breaks: 'an event from before the last one is applied',
    row: 'C4/ghost',
    edits: [
      {
        file: INFORMER,
        find: 'if (version !== undefined && this.#version !== undefined && isOlder(version, this.#version)) return;',
        replace: '',
      },
    ],
  },
  {
    name: 'bad-line-skipped',
    breaks: 'a line of a watch that cannot be read is passed over',
    row: 'C5/corrupt',
    edits: [
      {
        file: 'src/controller/watch-stream.ts',
        find: 'if (!signal.aborted) apply(parseEvent(path, line));',
        replace:
          'if (signal.aborted) return;\n    let event: WatchEvent;\n    try {\n      event = parseEvent(path, line);\n    } catch {\n      return;\n    }\n    apply(event);',
      },
    ],
  },
  {
    name: 'line-without-bound',
    breaks: 'a line of a watch is kept in memory however long it is',
    row: 'C5/huge',
    edits: [
      {
        file: 'src/controller/line-splitter.ts',
        find: 'if (this.#bytes + added > this.#maxBytes)',
        replace: 'if (added > this.#maxBytes)',
      },
    ],
  },
  {
    name: 'half-line-forgotten',
    breaks: 'what came of a line before a pause is lost',
    row: 'C5/split',
    edits: [
      {
        file: 'src/controller/line-splitter.ts',
        find: 'Buffer.concat([...this.#parts, last])',
        replace: 'Buffer.concat([last])',
      },
    ],
  },
  {
    name: 'silent-watch-is-alive',
    breaks: 'a watch may stay silent for ever',
    row: 'C6/watches',
    edits: [
      {
        file: 'src/controller/pools.ts',
        find: 'bodyTimeout: limits.watchIdleMs,',
        replace: 'bodyTimeout: 0,',
      },
    ],
  },
  {
    name: 'token-read-once',
    breaks: 'a token that is refused is not read again',
    row: 'C7/token',
    edits: [
      {
        file: TRANSPORT,
        find: 'await this.#connection.credentials({ fresh: true })',
        replace: 'await this.#connection.credentials()',
      },
    ],
  },
  {
    name: 'pause-of-one-call',
    breaks: 'an API server that asks for time gets it from one call, and the others go on',
    row: 'D3/all',
    edits: [{ file: TRANSPORT, find: '        this.#heed(prepared, error);\n', replace: '' }],
  },
  {
    name: 'busy-is-asked-again',
    breaks: 'an API server that asks for time is asked again by the own schedule',
    row: 'D3',
    edits: [
      { file: TRANSPORT, find: '        this.#heed(prepared, error);\n', replace: '' },
      {
        file: TRANSPORT,
        find: 'Math.max(backoffMs(attempt, RETRY, this.#random), retryAfterOf(error))',
        replace: 'backoffMs(attempt, RETRY, this.#random)',
      },
    ],
  },
  {
    name: 'blind-write-again',
    breaks: 'a write whose answer was lost is sent again without a look',
    row: 'D4/reset-after',
    edits: [
      {
        file: 'src/controller/retry.ts',
        find: 'if (!(error instanceof ApiError)) return false;',
        replace: 'if (!(error instanceof ApiError)) return true;',
      },
    ],
  },
  {
    name: 'calls-without-end',
    breaks: 'a call that is never answered is waited for without a deadline',
    row: 'D4/hang',
    recoveryMs: 90_000, // a call that is never answered is given up after 30 s
    edits: [
      {
        file: TRANSPORT,
        find: "() => call.abort(new DOMException(`no answer within ${timeoutMs} ms`, 'TimeoutError')),",
        replace: '() => undefined,',
      },
      { file: 'src/controller/pools.ts', find: 'const CALL_MS = 30_000;', replace: 'const CALL_MS = 0;' },
    ],
  },
  {
    name: 'quota-is-a-right',
    breaks: 'an exceeded quota is told as a missing right',
    row: 'D6/jobs',
    edits: [
      {
        file: 'src/controller/settle.ts',
        find: "if (isQuotaExceeded(error)) return 'QuotaExceeded';",
        replace: '',
      },
    ],
  },
  {
    name: 'invalid-is-tried-again',
    breaks: 'a Job that no API server accepts is created again and again',
    row: 'D8',
    edits: [
      {
        file: 'src/reconcilers/task/reconcile.ts',
        find: 'if (!isInvalid(error)) throw error;',
        replace: 'if (isInvalid(error) || error) throw error;',
      },
    ],
  },
  {
    name: 'name-of-the-leader',
    breaks:
      'the name of a Job also follows from who creates it, so a create request that is late does not collide',
    row: 'A3/answered',
    edits: [
      {
        file: 'src/jobs/names.ts',
        find: 'sha256(`${task.uid}/${attempt}`)',
        replace: 'sha256(`${task.uid}/${attempt}/${process.pid}`)',
      },
    ],
  },
];
