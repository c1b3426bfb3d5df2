/** What a proxy can do to requests and to the events of watches. */

/** A request of the operator, as the proxy saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly isWatch: boolean;
}

/** A request with the API server's answer; status 0 means that the API server never heard of it. */
export type Logged = Seen & {
  readonly status: number;
  /** Monotonic ms at which the request had arrived. */
  readonly atMs: number;
  /** When the operator had its answer, or had given up; undefined while it waits. */
  readonly endedMs: number | undefined;
};

/**
 * What happens to a request.
 * - drop-request: it never reaches the API server; the operator sees a reset.
 * - drop-response: the API server carries it out; the operator sees a reset.
 * - lie: the API server carries it out; the operator sees a failure.
 * - pass: nothing; for rules that only want to know (`after`).
 * - hang: it never reaches the API server and is never answered.
 * - delay: it reaches the API server late.
 * - rewrite: it reaches the API server with another path or another body.
 * - gone: a watch begins and says at once that its version is too old (410 in the stream).
 * - reply: the proxy answers itself, the API server never hears of it.
 */
export type Fault =
  | { readonly do: 'drop-request' | 'drop-response' | 'pass' | 'hang' | 'gone' }
  | { readonly do: 'delay'; readonly ms: number }
  | {
      readonly do: 'rewrite';
      readonly path?: (path: string) => string;
      readonly body?: (body: string) => string;
    }
  | {
      readonly do: 'reply' | 'lie';
      readonly status: number;
      readonly reason: string;
      readonly message?: string;
      readonly retryAfterSeconds?: number;
      /** Goes into `details` of the Status object. */
      readonly details?: object;
    };

export interface Rule {
  readonly matches: (request: Seen) => boolean;
  readonly fault: Fault;
  /** How often it fires before it is used up. @default 1 */
  readonly times?: number;
  /** What somebody else does while the request is under way; the API server gets it only afterwards. */
  readonly before?: (request: Seen) => Promise<void>;
  /** Before anything is sent (drop-request, reply, hang, delay) or after it was carried out (drop-response, lie). */
  readonly onHit?: () => void;
  /** After the operator has got the whole answer. */
  readonly after?: () => void;
}

/** A rule in force. */
export interface Injected {
  hits(): number;
  remove(): void;
}

/** One line of a watch, on its way to the operator. */
export interface WatchLine {
  /** ADDED, MODIFIED, DELETED, BOOKMARK or ERROR. */
  readonly type: string;
  /** Plural of the watched kind. */
  readonly resource: string;
  readonly name: string;
  readonly object: Readonly<Record<string, unknown>>;
}

/**
 * - drop: the operator never gets it
 * - twice: it gets it again right away
 * - replay: it gets it again at the end of the next line, out of order
 * - ghost: it gets it in time, and again after the object's DELETED
 * - corrupt: half of it, with a newline
 * - split: in two chunks with a pause between them
 * - end: instead of it the stream ends
 * - skip: instead of it comes a bookmark of its version: the stream claims to have told everything
 * - expire: instead of it the stream says 410 and ends
 * - huge: instead of it comes one of 50 MB
 * - flood: it comes 40 times
 * - last: it gets it and nothing after it, until the proxy thaws
 */
export type LineFault =
  | 'drop'
  | 'twice'
  | 'replay'
  | 'ghost'
  | 'corrupt'
  | 'split'
  | 'end'
  | 'skip'
  | 'expire'
  | 'huge'
  | 'flood'
  | 'last';

export interface LineRule {
  readonly matches: (line: WatchLine) => boolean;
  readonly fault: LineFault;
  /** @default 1 */
  readonly times?: number;
}

/** The kinds on whose events the life of a task depends. */
export const KINDS = ['analysistasks', 'jobs', 'pods'] as const;
export type Kind = (typeof KINDS)[number];

/** The requests that begin a watch of one kind. */
export const watchesOf =
  (kind: Kind) =>
  ({ isWatch, path }: Seen): boolean =>
    isWatch && path.includes(`/${kind}?`);

/** Rules that are used up in the order in which they were given. */
export class RuleBook<T extends { readonly times?: number }> {
  #rules: { readonly rule: T; hits: number; gone: boolean }[] = [];

  add(rule: T): Injected {
    const entry = { rule, hits: 0, gone: false };
    this.#rules.push(entry);
    return {
      hits: () => entry.hits,
      remove: () => {
        entry.gone = true;
      },
    };
  }

  /** The first rule that applies and has not been used up; counts as a hit. */
  take(applies: (rule: T) => boolean): T | undefined {
    const entry = this.#rules.find(
      ({ rule, hits, gone }) => !gone && hits < (rule.times ?? 1) && applies(rule),
    );
    if (entry) entry.hits += 1;
    return entry?.rule;
  }

  clear(): void {
    this.#rules = [];
  }
}
