import type { Readable, Writable } from 'node:stream';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import type { LineRule, RuleBook, WatchLine } from './rules.ts';

const SPLIT_PAUSE_MS = 200;

const event = z.looseObject({
  type: z.string(),
  object: z.looseObject({ metadata: z.looseObject({ name: z.string().optional() }).optional() }),
});

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
  const write = (text: string): void => {
    if (!to.destroyed) to.write(text);
  };
  const pass = async (line: string): Promise<void> => {
    const seen = lineOf(resource, line);
    const fault = seen && rules.take((rule) => rule.matches(seen))?.fault;
    if (fault === 'drop') return;
    if (fault === 'end') to.end();
    else if (fault === 'replay') held.push(line);
    else if (fault === 'corrupt') write(`${line.slice(0, line.length / 2)}\n`);
    else if (fault === 'split') {
      write(line.slice(0, line.length / 2));
      await pause(SPLIT_PAUSE_MS);
      write(`${line.slice(line.length / 2)}\n`);
    } else write(fault === 'twice' ? `${line}\n${line}\n` : `${line}\n`);
    if (fault === 'last') gate.close();
    if (fault === 'replay') write(`${line}\n`);
    else for (const old of held.splice(0)) write(`${old}\n`);
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
