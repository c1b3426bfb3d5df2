/**
 * The truth about every unit: its exit code, and each promised output read from the volume. What the model says counts
 * against it, never for it.
 */
import type { AgentRequest } from '../api/request.ts';
import type { AgentCategory } from './failure.ts';
import { inspectOutput, stillRecorded } from './inspect.ts';
import type { Inspection } from './inspect.ts';
import { readUntrusted } from './paths.ts';
import type { StagingPaths, UntrustedTree } from './paths.ts';
import type { PromisedOutput, Unit } from './plan.ts';
import { OutputBook, recordsOf } from './records.ts';
import type { OutputRecord } from './records.ts';

/** Why a unit failed, in the words of section 8 of the design: categories of the agent. */
interface UnitFailure {
  readonly category: AgentCategory;
  /** Second half of a sentence about the unit. */
  readonly reason: string;
}

export interface Verdict {
  readonly unit: Unit;
  /** The model's exit code; undefined when it did not run for this unit alone. */
  readonly exitCode?: number;
  readonly outputs: readonly OutputRecord[];
  readonly failure?: UnitFailure;
}

const KILLED = 137;
/** Inspections that are remembered for other units. */
const SHARED = 1024;
const EXIT_CODE = /^\d{1,3}\n?$/;

/** What the units of one plan are verified with. */
export interface Verification {
  readonly request: AgentRequest;
  readonly out: UntrustedTree;
  readonly control: UntrustedTree;
  /** What observe hashed already. */
  readonly recorded: OutputBook;
  /** Outputs are read once, also when units of a dataset share them. */
  readonly shared: Map<string, Promise<Inspection>>;
}

export async function startVerification(
  request: AgentRequest,
  staging: Pick<StagingPaths, 'out' | 'control' | 'records'>,
): Promise<Verification> {
  const recorded = new OutputBook();
  for await (const { outputs } of recordsOf(staging.records))
    for (const output of outputs) recorded.add(output);
  const seen = new Set<string>();
  return {
    request,
    recorded,
    // The model has ended: nobody exchanges a directory for a link any more.
    out: { root: staging.out, seen },
    control: { root: staging.control, seen },
    shared: new Map(),
  };
}

export async function verifyUnit(verify: Verification, unit: Unit): Promise<Verdict> {
  if (unit.state === 'refused') return lost(unit, 'InvalidInput');
  if (unit.state === 'abandoned') return lost(unit, 'OutOfMemory');
  const exit = await exitOf(verify, unit);
  if (exit.failure !== undefined) return { unit, outputs: [], ...exit };
  const outputs: OutputRecord[] = [];
  for (const promise of unit.outputs) {
    // oxlint-disable-next-line no-await-in-loop -- a unit has few outputs
    const inspection = await inspectOnce(verify, promise);
    if ('problem' in inspection)
      return { unit, outputs, ...exit, failure: missing(verify, promise, inspection.problem) };
    outputs.push(inspection.record);
  }
  return { unit, outputs, ...exit };
}

function lost(unit: Unit, category: AgentCategory): Verdict {
  return { unit, outputs: [], failure: { category, reason: unit.reason ?? 'was refused' } };
}

function missing(verify: Verification, promise: PromisedOutput, problem: string): UnitFailure {
  const ended = verify.request.run.per === 'Dataset' ? 'the model exited 0, but' : 'exited 0, but';
  return { category: 'MissingOutput', reason: `${ended} ${JSON.stringify(promise.path)} ${problem}` };
}

async function exitOf(verify: Verification, unit: Unit): Promise<Pick<Verdict, 'exitCode' | 'failure'>> {
  if (verify.request.run.per === 'Dataset' || unit.state === 'reused') return {};
  const text = await readUntrusted(verify.control, `${unit.id}.exit`, 16);
  if (!EXIT_CODE.test(text)) {
    const reason = 'was not run to its end (no exit code was recorded): try again';
    return { failure: { category: 'MissingOutput', reason } };
  }
  const exitCode = Number(text);
  return exitCode === 0 ? { exitCode } : { exitCode, failure: classifyExit(verify.request, exitCode) };
}

function classifyExit(request: AgentRequest, code: number): UnitFailure {
  const rule = request.failure.exitCodes?.find((entry) => entry.code === code);
  if (rule !== undefined) {
    const hint = rule.hint === undefined ? '' : `: ${rule.hint}`;
    return { category: rule.category, reason: `ended with exit code ${code}${hint}` };
  }
  if (code === KILLED) {
    const reason = 'was killed (exit code 137), most likely for memory: raise resources.memory of the model';
    return { category: 'OutOfMemory', reason };
  }
  const meaning = EXIT_MEANING[code];
  return {
    category: 'ModelError',
    reason: `ended with exit code ${code}${meaning === undefined ? '' : ` (${meaning})`}`,
  };
}

const EXIT_MEANING: Readonly<Record<number, string>> = {
  126: 'the command is not executable',
  127: 'the command was not found in the image',
  134: 'the model aborted',
  139: 'the model crashed with a segmentation fault',
  143: 'the model was terminated',
};

function inspectOnce(verify: Verification, promise: PromisedOutput): Promise<Inspection> {
  // Only the recordings of one dataset run share outputs; elsewhere remembering them would only take memory.
  if (verify.request.run.per !== 'Dataset') return inspectPromise(verify, promise);
  const { shared } = verify;
  const inspection = shared.get(promise.path) ?? inspectPromise(verify, promise);
  // Those who share an output stand near each other in the plan, or all of them do: the least recent goes.
  shared.delete(promise.path);
  shared.set(promise.path, inspection);
  const [oldest] = shared.keys();
  if (shared.size > SHARED && oldest !== undefined) shared.delete(oldest);
  return inspection;
}

async function inspectPromise(verify: Verification, promise: PromisedOutput): Promise<Inspection> {
  const rule = verify.request.outputs[promise.spec];
  if (rule === undefined) return { problem: 'is not among the outputs of the model' };
  const record = verify.recorded.get(promise.path);
  if (record !== undefined && (await stillRecorded(verify.out, record))) return { record };
  return inspectOutput(verify.out, promise.path, rule);
}
