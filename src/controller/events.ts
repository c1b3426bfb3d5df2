import { randomBytes } from 'node:crypto';
import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';
import { microTimeOf } from './conditions.ts';
import { Fifo } from './fifo.ts';
import type { Log } from './log.ts';
import { silentLog } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { KubeObject } from './resources.ts';
import { collectionPath, EVENTS } from './resources.ts';
import { TokenBuckets } from './token-buckets.ts';
import type { Transport } from './transport.ts';

/** What happened, in the past tense. */
export interface EventNote {
  /** @default Normal */
  readonly type?: 'Normal' | 'Warning';
  /** CamelCase, from a closed set. */
  readonly reason: string;
  /** What was done or tried, CamelCase, e.g. `CreateJob`. */
  readonly action: string;
  /** One sentence; cut at 1 kB. */
  readonly note: string;
  readonly related?: KubeObject;
}

export interface EventRecorder {
  /** Never throws, never waits: events are a convenience and must not slow down work. */
  record(regarding: KubeObject, event: EventNote): void;
  /** Resolves when the queue is empty or `timeoutMs` have passed; then nothing more is recorded. */
  stop(timeoutMs?: number): Promise<void>;
}

export interface EventRecorderOptions {
  readonly transport: Transport;
  /** `reportingController`, e.g. `analysis.elsi.dev/controller`. */
  readonly controller: string;
  /** `reportingInstance`, e.g. the pod's name. */
  readonly instance: string;
  /** Events waiting to be sent; more are dropped. @default 1000 */
  readonly queueLimit?: number;
  /** Events per object at once. @default 10 */
  readonly burst?: number;
  /** One more per object after this time. @default 60 000 */
  readonly refillMs?: number;
  /** The same event of an object is not repeated within this time. @default 300 000 */
  readonly repeatMs?: number;
  readonly clock?: Clock;
  readonly log?: Log;
  readonly metrics?: Metrics | undefined;
}

const NOTE_BYTES = 1024;
const SENDERS = 2;
const MEMORY = 4096;

/** Records Kubernetes Events (events.k8s.io/v1) in the background. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new Recorder(options);
}

class Recorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #queue = new Fifo<object>();
  readonly #buckets: TokenBuckets;
  readonly #repeats: TokenBuckets;
  #sending = 0;
  #stopped = false;
  #onIdle: (() => void)[] = [];

  constructor(options: EventRecorderOptions) {
    const {
      clock = systemClock,
      log = silentLog,
      burst = 10,
      refillMs = 60_000,
      repeatMs = 300_000,
    } = options;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#buckets = new TokenBuckets({ burst, refillMs, limit: MEMORY, clock });
    this.#repeats = new TokenBuckets({ burst: 1, refillMs: repeatMs, limit: MEMORY, clock });
  }

  record(regarding: KubeObject, event: EventNote): void {
    const refused = this.#refusal(regarding, event);
    if (refused !== undefined) {
      this.#options.metrics?.eventDropped(refused);
      return;
    }
    this.#queue.push(this.#bodyOf(regarding, event));
    if (this.#sending < SENDERS) void this.#send();
  }

  async stop(timeoutMs = 2_000): Promise<void> {
    this.#stopped = true;
    if (this.#sending === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle.push(resolve);
    const timer = this.#clock.setTimeout(resolve, timeoutMs);
    await promise;
    timer.cancel();
  }

  #refusal({ metadata }: KubeObject, { type, reason, note }: EventNote): string | undefined {
    if (this.#stopped) return 'stopped';
    if (this.#queue.size >= (this.#options.queueLimit ?? 1000)) return 'queue-full';
    if (!this.#repeats.take(`${metadata.uid}\n${type}\n${reason}\n${note}`)) return 'repeated';
    return this.#buckets.take(metadata.uid) ? undefined : 'rate';
  }

  #bodyOf(regarding: KubeObject, { type = 'Normal', reason, action, note, related }: EventNote): object {
    const namespace = regarding.metadata.namespace ?? 'default';
    const suffix = `${this.#clock.now().getTime().toString(16)}${randomBytes(4).toString('hex')}`;
    return {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace, name: `${regarding.metadata.name.slice(0, 200)}.${suffix}` },
      eventTime: microTimeOf(this.#clock.now()),
      reportingController: this.#options.controller,
      reportingInstance: this.#options.instance.slice(0, 128),
      type,
      reason: reason.slice(0, 128),
      action: action.slice(0, 128),
      note: cutToBytes(note, NOTE_BYTES),
      regarding: referenceTo(regarding),
      ...(related ? { related: referenceTo(related) } : {}),
    };
  }

  async #send(): Promise<void> {
    this.#sending++;
    for (let body = this.#queue.shift(); body; body = this.#queue.shift()) await this.#post(body);
    this.#sending--;
    if (this.#sending === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  async #post(body: object): Promise<void> {
    const { namespace } = (body as { metadata: { namespace: string } }).metadata;
    try {
      await this.#options.transport.request({
        method: 'POST',
        path: collectionPath(EVENTS, namespace),
        body,
        timeoutMs: 10_000,
      });
    } catch (error) {
      this.#options.metrics?.eventDropped('refused');
      this.#log.debug('Cannot write an event', { error });
    }
  }
}

function referenceTo({ apiVersion, kind, metadata }: KubeObject): object {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { apiVersion, kind, name, ...(namespace ? { namespace } : {}), uid, resourceVersion };
}

/** Cuts at a character's boundary, never inside one. */
function cutToBytes(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text;
  return new TextDecoder().decode(Buffer.from(text).subarray(0, bytes - 3), { stream: true }) + '...';
}
