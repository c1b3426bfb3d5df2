/**
 * What a worker finds in the queues of its pod: one task, once. What it pushes becomes the pod's worker record, before
 * the push is acknowledged; what it publishes is progress, a hint.
 */
import type { AgentRequest } from '../api/request.ts';
import { workerDataset, workerNames } from '../api/worker.ts';
import { workerSource } from './places.ts';
import { quoted, readWorkerRecord, type WorkerRecord, writeWorkerRecord } from './worker-record.ts';

/** The queues as a connection sees them. Each may throw when the volume fails. */
export interface Queues {
  readonly pop: (queue: string) => Promise<string | null>;
  readonly push: (queue: string, messages: readonly string[]) => Promise<void>;
  readonly publish: (channel: string, message: string) => void;
}

export interface DeskOptions {
  readonly request: AgentRequest;
  /** Where the record is kept. */
  readonly file: string;
  /** Called with the share of the work that the worker says is done, from 0 to 1. */
  readonly progress: (share: number) => void;
  readonly log: (line: string) => void;
  readonly now: () => Date;
}

/** Queues that workers report on; nothing is ever handed out there. */
const COMPLETE = 'complete_task';
const FAIL = 'fail_task';
const REPORTS: readonly string[] = [COMPLETE, FAIL, 'progress'];
/** Lines of log about messages that nobody understands. */
const MAX_COMPLAINTS = 20;

export class WorkerDesk implements Queues {
  readonly #options: DeskOptions;
  readonly #task: string;
  /** What was said in this pod; a sidecar that was started anew finds what the last one wrote. */
  #record: WorkerRecord | undefined;
  /** Not kept: when the whole pod is started anew, its worker asks again. */
  #handedOut = false;
  /** The end of the last write: one at a time, in order. */
  #written: Promise<unknown> = Promise.resolve();
  #complaints = 0;

  private constructor(options: DeskOptions, record: WorkerRecord | undefined) {
    this.#options = options;
    this.#record = record;
    this.#task = workerNames(workerSource(options.request)).task;
  }

  /** Throws AgentError when the record of an earlier sidecar is damaged. */
  static async open(options: DeskOptions): Promise<WorkerDesk> {
    return new WorkerDesk(options, await readWorkerRecord(options.file));
  }

  /** The task at the first pop of any queue but those for reports, then null. */
  async pop(queue: string): Promise<string | null> {
    if (this.#handedOut || REPORTS.includes(queue)) return null;
    this.#handedOut = true;
    const { request, now, log } = this.#options;
    try {
      await this.#save({ v: 1, handedAt: now().toISOString(), queue, completed: false });
    } catch (error) {
      this.#handedOut = false;
      throw error;
    }
    log(`handed the task out on ${quoted(queue, 64)}`);
    return runTask(request, queue);
  }

  async push(queue: string, messages: readonly string[]): Promise<void> {
    for (const message of messages) {
      // oxlint-disable-next-line no-await-in-loop -- in their order
      await this.#take(queue, message);
    }
  }

  publish(channel: string, message: string): void {
    const said = this.#understand(channel, message);
    const share = said && shareOf(said);
    if (share !== undefined) this.#options.progress(share);
  }

  async #take(queue: string, message: string): Promise<void> {
    const record = this.#record;
    const said = this.#understand(queue, message);
    if (record === undefined || said === undefined) return;
    // Old workers push their progress onto the queue for completions.
    const share = shareOf(said);
    if (share !== undefined) this.#options.progress(share);
    else if (queue === COMPLETE) await this.#complete(record);
    else if (queue === FAIL) await this.#fail(record, said['reason']);
  }

  async #complete(record: WorkerRecord): Promise<void> {
    this.#options.log('the worker reported completion');
    await this.#save({ ...record, completed: true });
  }

  /** A failure stands, whatever else is said. */
  async #fail(record: WorkerRecord, reason: unknown): Promise<void> {
    const failure = typeof reason === 'string' && reason.trim() !== '' ? reason : 'no reason was given';
    this.#options.log(`the worker reported a failure: ${quoted(failure)}`);
    await this.#save({ ...record, failure: record.failure ?? failure });
  }

  /** The message if it is about this pod's task. */
  #understand(place: string, message: string): Readonly<Record<string, unknown>> | undefined {
    const said = objectOf(message);
    if (String(said?.['task_id']).toLowerCase() === this.#task) return said;
    if (this.#complaints++ < MAX_COMPLAINTS)
      this.#options.log(`passed over a message on ${quoted(place, 64)}: it names no task, or another one`);
    return undefined;
  }

  #save(record: WorkerRecord): Promise<void> {
    this.#record = record;
    const written = this.#written.then(() => writeWorkerRecord(this.#options.file, record));
    this.#written = written.catch(() => undefined);
    return written;
  }
}

/** The message that the labs' dispatcher would have put into the queue. */
function runTask(request: AgentRequest, queue: string): string {
  const source = workerSource(request);
  const { task, dataset } = workerNames(source);
  const { directory } = request.dataset;
  return JSON.stringify({
    task_id: task,
    dataset_uid_label: dataset,
    operation: queue.replace(/^run_/, ''),
    directory:
      directory === undefined ? null : `${workerDataset(source)}/${request.inputs.root}/${directory}`,
    // Staging is this pod's own: what it holds is of a run that was broken off.
    resume: false,
  });
}

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The share of the work that a progress message tells; undefined for other messages. */
function shareOf(said: Readonly<Record<string, unknown>>): number | undefined {
  const share = said['completed_progress'] ?? said['progress'];
  if (share === undefined) return undefined;
  return typeof share === 'number' ? Math.min(1, Math.max(0, share)) : 0;
}
