import { ArrayElements } from './array-elements.ts';
import { ElsiError } from './errors.ts';
import type { Http } from './http.ts';
import type { Session } from './session.ts';
import { type BadItem, type ElsiStatus, type ElsiTask, parseItem } from './wire.ts';

/** What this program asks of ELSI (contract: test/contract). */
export interface ElsiClient {
  /** Every task, item by item as it arrives. Throws for a list that is not whole. */
  list(signal: AbortSignal): Promise<Listing>;
  /** Undefined when ELSI does not know the task. Throws for an item that cannot be read. */
  get(uid: string, signal: AbortSignal): Promise<ElsiTask | undefined>;
  put(uid: string, change: Change, signal: AbortSignal): Promise<void>;
}

export interface Change {
  /** Absent: only the duration changes. */
  readonly status?: ElsiStatus;
  /** Whole seconds. */
  readonly estimatedSeconds?: number | undefined;
}

export interface Listing {
  readonly tasks: ReadonlyMap<string, ElsiTask>;
  /** Items that cannot be read, the first of them. */
  readonly bad: readonly BadItem[];
  /** How many there are in all. */
  readonly badItems: number;
  /** Every task that the list names, readable or not. */
  readonly named: ReadonlySet<string>;
  /** Items in all, duplicates included. */
  readonly items: number;
}

const TASKS_PATH = '/api/analytics/services/tasks';
/** Items that cannot be read are all counted, but not all told. */
const MAX_BAD = 1000;

export function createElsiClient({ exchange, download }: Http, session: Session): ElsiClient {
  /** A 401 may only mean that the token went early: once more with a new one. */
  const authorized = async <T>(signal: AbortSignal, call: (token: string) => Promise<T>): Promise<T> => {
    const token = await session.token(signal);
    try {
      return await call(token);
    } catch (error) {
      if (!(error instanceof ElsiError) || error.status !== 401) throw error;
      session.refused(token);
      return call(await session.token(signal));
    }
  };
  return {
    list: (signal) =>
      authorized(signal, async (token) => {
        const reader = createReader();
        await download({ method: 'GET', path: TASKS_PATH, token, signal }, (chunk) => reader.take(chunk));
        return reader.end();
      }),
    get: (uid, signal) =>
      authorized(signal, async (token) => {
        const raw = await exchange({ method: 'GET', path: `${TASKS_PATH}/${uid}`, token, signal }).catch(
          missing,
        );
        return raw === undefined ? undefined : expectItem(raw, uid);
      }),
    put: (uid, { status, estimatedSeconds }, signal) =>
      authorized(signal, async (token) => {
        const body = {
          ...(status === undefined ? {} : { status }),
          ...(estimatedSeconds === undefined ? {} : { estimated_duration: estimatedSeconds }),
        };
        await exchange({ method: 'PUT', path: `${TASKS_PATH}/${uid}`, body, token, signal });
      }),
  };
}

function missing(error: unknown): undefined {
  if (error instanceof ElsiError && error.status === 404) return undefined;
  throw error;
}

function expectItem(raw: unknown, uid: string): ElsiTask {
  const parsed = parseItem(raw);
  if (parsed.ok && parsed.task.uid === uid) return parsed.task;
  throw new ElsiError(
    `The item of task ${uid} cannot be read: ${parsed.ok ? 'it has another task_uid' : parsed.bad.problem}`,
  );
}

interface Reader {
  take(chunk: Buffer): void;
  end(): Listing;
}

/** Reads a JSON array element by element; only what is kept of each stays in memory. */
function createReader(): Reader {
  const tasks = new Map<string, ElsiTask>();
  const bad: BadItem[] = [];
  const named = new Set<string>();
  let badItems = 0;
  let items = 0;
  let problem: unknown;
  const elements = new ArrayElements((value) => {
    items++;
    const parsed = parseItem(value);
    const { uid } = parsed.ok ? parsed.task : parsed.bad;
    if (uid !== undefined) named.add(uid);
    if (!parsed.ok) {
      badItems++;
      if (bad.length < MAX_BAD) bad.push(parsed.bad);
    } else if (!tasks.has(parsed.task.uid)) tasks.set(parsed.task.uid, parsed.task);
  });
  return {
    take(chunk) {
      if (problem) return;
      try {
        elements.take(chunk);
      } catch (error) {
        problem = error;
      }
    },
    end() {
      if (problem || !elements.isWhole)
        throw new ElsiError('The list of tasks is no whole JSON array', problem ? { cause: problem } : {});
      return { tasks, bad, badItems, named, items };
    },
  };
}
