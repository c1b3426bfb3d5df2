import type { Readable, Writable } from 'node:stream';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import type { LineFault, LineRule, RuleBook, WatchLine } from './rules.ts';

const SPLIT_PAUSE_MS = 200;
const FLOOD = 40;
const HUGE_BYTES = 50 * 2 ** 20;
const CHUNK = 'x'.repeat(2 ** 20);

const event = z.looseObject({
  type: z.string(),
  object: z.looseObject({ metadata: z.looseObject({ name: z.string().optional() }).optional() }),
});

const versioned = z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string() }) });

/** One watch on its way through the proxy, line by line. */
export interface Pump {
  readonly resource: string;
  /** Keeps lines back until `thaw`; the stream stays open. */
  freeze(): void;
  thaw(): void;
  cut(): void;
}

interface Ends {
  readonly from: Readable;
  readonly to: Writable;
}

/** Passes the lines of a watch on, each after the fault that the first rule for it asks for. */
export function startPump(resource: string, { from, to }: Ends, rules: RuleBook<LineRule>): Pump {
  const gate = createGate();
  const held: string[] = [];
  const ghosts = new Map<string, string>();
  const pass = async (line: string): Promise<void> => {
    const seen = lineOf(resource, line);
    const fault = seen && rules.take((rule) => rule.matches(seen))?.fault;
    if (fault === 'drop' || !seen) return fault ? undefined : write(to, `${line}\n`);
    if (fault === 'replay') held.push(line);
    if (fault === 'ghost') ghosts.set(seen.name, line);
    const ghost = seen.type === 'DELETED' ? ghosts.get(seen.name) : undefined;
    if (ghost) return write(to, `${withoutContent(seen)}\n${ghost}\n`);
    await FAULTS[fault ?? 'none'](to, line, seen);
    if (fault === 'last') gate.close();
    if (fault !== 'replay') for (const old of held.splice(0)) await write(to, `${old}\n`);
  };
  const run = async (): Promise<void> => {
    // An async iterator takes lines one by one, so a split or frozen line keeps its place.
    for await (const line of createInterface({ input: from, crlfDelay: Number.POSITIVE_INFINITY })) {
      await gate.open();
      await pass(line);
    }
    await gate.open();
    to.end();
  };
  run().catch(() => to.destroy());
  return { resource, freeze: gate.close, thaw: gate.release, cut: () => void to.destroy() };
}

/** Short enough to travel in one TLS record with its ghost: nobody gets to act between the two. */
const withoutContent = ({ type, object }: WatchLine): string =>
  JSON.stringify({ type, object: { metadata: object['metadata'] } });

type Send = (to: Writable, line: string, seen: WatchLine) => Promise<void> | void;

const plain: Send = (to, line) => write(to, `${line}\n`);

const FAULTS: Readonly<Record<Exclude<LineFault, 'drop'> | 'none', Send>> = {
  none: plain,
  replay: plain,
  ghost: plain,
  last: plain,
  end: (to) => void to.end(),
  twice: (to, line) => write(to, `${line}\n${line}\n`),
  flood: (to, line) => write(to, `${line}\n`.repeat(FLOOD)),
  corrupt: (to, line) => write(to, `${line.slice(0, line.length / 2)}\n`),
  split: async (to, line) => {
    await write(to, line.slice(0, line.length / 2));
    await pause(SPLIT_PAUSE_MS);
    await write(to, `${line.slice(line.length / 2)}\n`);
  },
  skip: (to, _line, { object }) => {
    const { resourceVersion } = versioned.parse(object).metadata;
    return write(to, `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion } } })}\n`);
  },
  expire: async (to) => {
    const object = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'Expired', code: 410 };
    await write(to, `${JSON.stringify({ type: 'ERROR', object })}\n`);
    to.end();
  },
  huge: async (to, line) => {
    await write(to, `${line.slice(0, -1)},"pad":"`);
    for (let sent = 0; sent < HUGE_BYTES && !to.destroyed; sent += CHUNK.length) await write(to, CHUNK);
    await write(to, '"}\n');
  },
};

const ENDS = ['drain', 'close'] as const;

/** Waits while the other end does not read; one that is gone reads nothing. */
async function write(to: Writable, text: string): Promise<void> {
  if (to.destroyed || to.writableEnded) return;
  if (to.write(text)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const end of ENDS) to.once(end, resolve);
  await promise;
  for (const end of ENDS) to.off(end, resolve);
}

function lineOf(resource: string, line: string): WatchLine | undefined {
  try {
    const { type, object } = event.parse(JSON.parse(line));
    return { type, resource, name: object.metadata?.name ?? '', object };
  } catch {
    return undefined;
  }
}

function createGate(): { open: () => Promise<void>; close: () => void; release: () => void } {
  let closed: PromiseWithResolvers<void> | undefined;
  return {
    open: () => closed?.promise ?? Promise.resolve(),
    close: () => {
      closed ??= Promise.withResolvers<void>();
    },
    release: () => {
      closed?.resolve();
      closed = undefined;
    },
  };
}
