/**
 * From inputs to units of work: pure. A unit is one file, one directory of files, or, for `per: Dataset`, one file
 * of the single run, so that progress and partial results are counted in recordings everywhere.
 *
 * A unit's key is the hash of everything its outputs depend on; its id is the start of the key, so the markers of two
 * pods of one task can be compared by name.
 */
import { createHash, hash } from 'node:crypto';
import type { AgentRequest } from '../api/request.ts';
import { expandCommand, expandText, parameterValues, TemplateError } from '../api/template.ts';
import type { TemplateValues } from '../api/template.ts';
import { AgentFailure, shown } from './failure.ts';
import { directoryNames, fileNames } from './naming.ts';
import type { Names } from './naming.ts';
import { pathProblem } from './paths.ts';
import type { CheckedInput } from './preflight.ts';

/**
 * run        the model works on it
 * reused     an earlier pod of the task, or the task that is retried, finished it; its outputs are copied
 * refused    an input or a name is unusable
 * abandoned  it ended the container of earlier pods; it is not tried again
 */
export const UNIT_STATES = ['run', 'reused', 'refused', 'abandoned'] as const;

export interface PromisedOutput {
  /** Below the outputs directory. */
  readonly path: string;
  /** Index into the request's outputs. */
  readonly spec: number;
}

export interface Unit {
  readonly id: string;
  readonly key: string;
  /** For people: path below inputs.root; "." for the root as a directory. */
  readonly name: string;
  readonly inputs: readonly CheckedInput[];
  readonly outputs: readonly PromisedOutput[];
  /** Its share of the work, in the unit that the model's inputs.effort names. */
  readonly effort: number;
  readonly state: (typeof UNIT_STATES)[number];
  /** Why it is refused or abandoned. */
  readonly reason?: string;
  /** UID of the task that is retried, when the outputs are copied from there. */
  readonly from?: string;
  /** Why it runs again although the task that is retried had finished it. */
  readonly rerun?: string;
}

export interface Mounts {
  readonly dataMount: string;
  readonly outMount: string;
}

/** Files at the top of the outputs that the operator writes itself. */
export const RESERVED_OUTPUTS: readonly string[] = ['manifest.json', 'metannots.yml'];

const ID_LENGTH = 24;
/** Name of the unit that is inputs.root itself. */
const ROOT_NAME = '.';

/** Splits inputs into units with their promised outputs, one at a time: a hundred thousand of them would fill the memory. */
export function* planUnits(
  request: AgentRequest,
  inputs: readonly CheckedInput[],
  mounts: Mounts,
): Generator<Unit> {
  const base = hash('sha256', keyBase(request));
  for (const group of groups(request, inputs)) yield planUnit(request, { ...group, base }, mounts);
}

/** Hash of everything that the outputs of the task depend on. */
export function planHasher(request: AgentRequest): {
  readonly add: (unit: Unit) => void;
  readonly digest: () => string;
} {
  const sum = createHash('sha256').update(keyBase(request));
  return { add: (unit) => sum.update(unit.key), digest: () => sum.digest('hex') };
}

function keyBase(request: AgentRequest): string {
  const parameters = Object.entries(request.parameters)
    .filter(([name]) => !request.tuning.includes(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([
    1,
    request.model.uid,
    parameters,
    request.run,
    request.inputs.root,
    request.outputs,
  ]);
}

interface Group {
  readonly name: string;
  readonly inputs: readonly CheckedInput[];
}

function* groups(request: AgentRequest, inputs: readonly CheckedInput[]): Generator<Group> {
  if (request.run.per !== 'Directory') {
    for (const input of inputs) yield { name: input.path, inputs: [input] };
    return;
  }
  const byDirectory = Map.groupBy(inputs, ({ path }) => path.slice(0, Math.max(0, path.lastIndexOf('/'))));
  for (const [path, members] of byDirectory) yield { name: path === '' ? ROOT_NAME : path, inputs: members };
}

function planUnit(request: AgentRequest, group: Group & { readonly base: string }, mounts: Mounts): Unit {
  const key = unitKey(group);
  const effort = effortOf(request.inputs.effort, group.inputs);
  const facts = { id: key.slice(0, ID_LENGTH), key, name: group.name, inputs: group.inputs, effort };
  try {
    const outputs = promisedOutputs(request, group.inputs);
    const bad = group.inputs.find((input) => input.problem !== undefined);
    if (bad !== undefined) {
      const reason = `${group.name === bad.path ? '' : `${shown(bad.path)} `}${bad.problem}`;
      return { ...facts, outputs, state: 'refused', reason };
    }
    const unit = { ...facts, outputs, state: 'run' } as const;
    commandOf(request, unit, mounts);
    return unit;
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return {
      ...facts,
      outputs: [],
      state: 'refused',
      reason: `cannot be given to the model: ${error.message}`,
    };
  }
}

function unitKey(group: Group & { readonly base: string }): string {
  const inputs = group.inputs.map(({ path, size, mtimeMs }) => [path, size, mtimeMs]);
  return hash('sha256', `${group.base}${JSON.stringify([group.name, inputs])}`);
}

function effortOf(kind: AgentRequest['inputs']['effort'], inputs: readonly CheckedInput[]): number {
  switch (kind) {
    case 'Bytes':
      return inputs.reduce((sum, { size }) => sum + size, 0);
    case 'AudioSeconds':
      return inputs.reduce((sum, { seconds = 0 }) => sum + seconds, 0);
    case 'AnnotatedSeconds':
      return inputs.reduce((sum, { annotatedSeconds = 0 }) => sum + annotatedSeconds, 0);
  }
}

function promisedOutputs(request: AgentRequest, inputs: readonly CheckedInput[]): PromisedOutput[] {
  const promised = new Map<string, number>();
  for (const input of inputs) {
    const names = { ...fileNames(request.inputs.root, input.path) };
    for (const [spec, output] of request.outputs.entries())
      promised.set(outputPath(output.path, names), spec);
  }
  return [...promised].map(([path, spec]) => ({ path, spec }));
}

/** Fills an output template; empty directories vanish. Throws TemplateError for a path that would leave the outputs. */
export function outputPath(template: string, names: TemplateValues): string {
  const path = expandText(template, names)
    .split('/')
    .filter((segment) => segment !== '')
    .join('/');
  const problem = pathProblem(path);
  if (problem === undefined) return path;
  throw new TemplateError(
    `the output ${shown(template)} becomes ${shown(path)}, which ${problem}: rename the input`,
  );
}

/**
 * Argument vector of a unit; empty for per: Dataset, where the controller fills the command.
 * Throws TemplateError when a name cannot be passed safely.
 */
export function commandOf(request: AgentRequest, unit: Unit, mounts: Mounts): string[] {
  if (request.run.per === 'Dataset') return [];
  const root = `${mounts.dataMount}/${request.inputs.root}`;
  const output = `${mounts.outMount}/${unit.outputs[0]?.path ?? ''}`;
  const names = namesOf(request, unit);
  const shared = {
    ...names,
    inputDir: names.reldir === '' ? root : `${root}/${names.reldir}`,
    outputDir: output.slice(0, output.lastIndexOf('/')),
    ...parameterValues(request.parameters),
  };
  const file = request.run.per === 'File' ? { input: `${root}/${unit.inputs[0]?.path ?? ''}`, output } : {};
  return expandCommand(request.run.command ?? [], { ...shared, ...file });
}

function namesOf(request: AgentRequest, unit: Unit): Names {
  const { root } = request.inputs;
  if (request.run.per === 'File') return fileNames(root, unit.name);
  return directoryNames(root, unit.name === ROOT_NAME ? '' : unit.name);
}

/**
 * What all units of a plan promise together. One output has one author, except that the files of a single dataset run
 * may share one.
 */
export class Promises {
  readonly #mayShare: boolean;
  readonly #authors = new Map<string, string>();
  readonly #directories = new Map<string, string>();

  constructor(request: AgentRequest) {
    this.#mayShare = request.run.per === 'Dataset';
  }

  /** Throws InvalidInput when another unit promises one of the outputs. */
  add(unit: Unit): void {
    for (const { path } of unit.outputs) {
      const other = this.#authors.get(path);
      if (other !== undefined && !this.#mayShare) throw twoAuthors(path, other, unit.name);
      this.#authors.set(path, unit.name);
      this.#addDirectories(path);
    }
  }

  #addDirectories(path: string): void {
    for (let at = path.lastIndexOf('/'); at >= 0; at = path.lastIndexOf('/', at - 1)) {
      const directory = path.slice(0, at);
      if (this.#directories.has(directory)) return;
      this.#directories.set(directory, path);
    }
  }

  /** Throws InvalidInput when an output stands where a directory, or the operator's own file, has to be. */
  check(): void {
    for (const path of [...this.#directories.keys(), ...RESERVED_OUTPUTS]) {
      if (this.#authors.has(path)) throw misplaced(path, this.#directories.get(path));
    }
  }
}

function twoAuthors(path: string, one: string, other: string): AgentFailure {
  return new AgentFailure(
    'InvalidInput',
    `${shown(one)} and ${shown(other)} would both write ${shown(path)}: rename one of them, or use {reldir} or {rel} in the model's outputs`,
  );
}

function misplaced(path: string, inside: string | undefined): AgentFailure {
  const why =
    inside === undefined
      ? 'is written by the operator itself'
      : `would also have to be a directory for ${shown(inside)}`;
  return new AgentFailure(
    'InvalidInput',
    `the output ${shown(path)} ${why}: choose another template in the model's outputs`,
  );
}
