/**
 * plan.json: a JSON document with one unit per line, so that 100 000 units are written and read as a stream.
 * It lies outside of what the model can write and is put in place by one rename: if it exists, it is complete.
 */
import { rename } from 'node:fs/promises';
import { z } from 'zod';
import { AgentFailure, shown } from './failure.ts';
import { linesOf, TextWriter } from './lines.ts';
import { UNIT_STATES } from './plan.ts';
import type { Unit } from './plan.ts';

const checkedInput = z.object({
  path: z.string(),
  size: z.number(),
  mtimeMs: z.number(),
  ino: z.number(),
  annexKey: z.string().exactOptional(),
  seconds: z.number().exactOptional(),
  annotatedSeconds: z.number().exactOptional(),
  problem: z.string().exactOptional(),
});

const unitSchema = z.object({
  id: z.string(),
  key: z.string(),
  name: z.string(),
  inputs: z.array(checkedInput),
  outputs: z.array(z.object({ path: z.string(), spec: z.int() })),
  effort: z.number(),
  state: z.enum(UNIT_STATES),
  reason: z.string().exactOptional(),
  from: z.string().exactOptional(),
  rerun: z.string().exactOptional(),
});

const headSchema = z.object({
  schema: z.literal(1),
  taskUID: z.string(),
  podUID: z.string(),
  attempt: z.int(),
  createdAt: z.string(),
  planHash: z.string(),
});

export type PlanHead = z.infer<typeof headSchema>;

/** A plan on the volume; its units are read anew each time, one by one. */
export interface Plan {
  readonly head: PlanHead;
  readonly units: () => AsyncGenerator<Unit>;
}

const LAST_LINE = ']}';

/** Writes a plan unit by unit; it appears under its name when it is complete. */
export class PlanWriter {
  readonly #file: string;
  readonly #writer: TextWriter;
  #separator = '\n';

  private constructor(file: string, writer: TextWriter) {
    this.#file = file;
    this.#writer = writer;
  }

  static async start(file: string, head: PlanHead): Promise<PlanWriter> {
    const writer = await TextWriter.create(`${file}.tmp`);
    writer.add(`${JSON.stringify(head).slice(0, -1)},"units":[`);
    return new PlanWriter(file, writer);
  }

  add(unit: Unit): void {
    this.#writer.add(`${this.#separator}${JSON.stringify(unit)}`);
    this.#separator = ',\n';
  }

  async drain(): Promise<void> {
    await this.#writer.drain();
  }

  async finish(): Promise<void> {
    this.#writer.add(`\n${LAST_LINE}\n`);
    await this.#writer.finish();
    await rename(`${this.#file}.tmp`, this.#file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
  }
}

/** Opens a plan; undefined when there is none. Throws AgentError when it is damaged, here or while its units are read. */
export async function openPlan(file: string): Promise<Plan | undefined> {
  for await (const line of linesOf(file)) return { head: parseHead(file, line), units: () => unitsOf(file) };
  return undefined;
}

async function* unitsOf(file: string): AsyncGenerator<Unit> {
  let isHead = true;
  for await (const line of linesOf(file)) {
    if (line === LAST_LINE) return;
    if (!isHead) yield parseUnit(file, line.endsWith(',') ? line.slice(0, -1) : line);
    isHead = false;
  }
  throw damaged(file);
}

function parseUnit(file: string, text: string): Unit {
  const parsed = unitSchema.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw damaged(file);
}

function parseHead(file: string, line: string): PlanHead {
  const parsed = headSchema.safeParse(jsonOf(`${line.slice(0, line.lastIndexOf(',"units":['))}}`));
  if (parsed.success) return parsed.data;
  throw damaged(file);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function damaged(file: string): AgentFailure {
  return new AgentFailure('AgentError', `the plan ${shown(file)} is damaged: start the task again`);
}
