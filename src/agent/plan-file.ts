/**
 * plan.json: a JSON document with one unit per line, so that 100 000 units are written and read as a stream.
 * It lies outside of what the model can write and is put in place by one rename: if it exists, it is complete.
 */
import { rename } from 'node:fs/promises';
import { z } from 'zod';
import { AgentFailure, shown } from './failure.ts';
import { linesOf, writeLines } from './lines.ts';
import { UNIT_STATES } from './plan.ts';
import type { Unit } from './plan.ts';

const checkedInput = z.object({
  path: z.string(),
  size: z.number(),
  mtimeMs: z.number(),
  ino: z.number(),
  annexKey: z.string().exactOptional(),
  seconds: z.number().exactOptional(),
  problem: z.string().exactOptional(),
});

const unitSchema = z.object({
  id: z.string(),
  key: z.string(),
  name: z.string(),
  inputs: z.array(checkedInput),
  outputs: z.array(z.object({ path: z.string(), spec: z.int() })),
  state: z.enum(UNIT_STATES),
  reason: z.string().exactOptional(),
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
export interface Plan extends PlanHead {
  readonly units: readonly Unit[];
}

export async function writePlan(file: string, head: PlanHead, units: readonly Unit[]): Promise<void> {
  function* lines(): Generator<string> {
    yield `${JSON.stringify(head).slice(0, -1)},"units":[\n`;
    for (const [index, unit] of units.entries())
      yield `${JSON.stringify(unit)}${index + 1 < units.length ? ',' : ''}\n`;
    yield ']}\n';
  }
  await writeLines(`${file}.tmp`, lines());
  await rename(`${file}.tmp`, file);
}

/** Reads a plan; undefined when there is none. Throws AgentError when it is damaged. */
export async function readPlan(file: string): Promise<Plan | undefined> {
  let head: PlanHead | undefined;
  const units: Unit[] = [];
  for await (const line of linesOf(file)) {
    if (line === ']}') break;
    if (head === undefined) head = parseHead(file, line);
    else units.push(unitSchema.parse(JSON.parse(line.endsWith(',') ? line.slice(0, -1) : line)));
  }
  return head === undefined ? undefined : { ...head, units };
}

function parseHead(file: string, line: string): PlanHead {
  const parsed = headSchema.safeParse(JSON.parse(`${line.slice(0, line.lastIndexOf(',"units":['))}}`));
  if (parsed.success) return parsed.data;
  throw new AgentFailure('AgentError', `the plan ${shown(file)} is damaged: start the task again`);
}
