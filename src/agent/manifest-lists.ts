/**
 * The lists of a manifest, each in a file of its own beside `out` while units are verified: a hundred thousand entries
 * are never in memory together.
 */
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { TextWriter } from './lines.ts';
import type { Unit } from './plan.ts';
import type { OutputRecord } from './records.ts';
import type { Verdict } from './verify.ts';

interface List {
  readonly file: string;
  readonly writer: TextWriter;
  separator: string;
}

function addEntry(list: List, entry: Record<string, unknown>): void {
  list.writer.add(`${list.separator}    ${JSON.stringify(entry)}`);
  list.separator = ',\n';
}

export class ManifestLists {
  /** inputs.root, as inputs are named below the dataset. */
  readonly #root: string;
  readonly #units: List;
  readonly #inputs: List;
  readonly #outputs: List;

  private constructor(root: string, [units, inputs, outputs]: readonly [List, List, List]) {
    this.#root = root;
    this.#units = units;
    this.#inputs = inputs;
    this.#outputs = outputs;
  }

  /** Starts empty lists in the staging directory of a pod. */
  static async start(pod: string, root: string): Promise<ManifestLists> {
    const list = async (name: string): Promise<List> => {
      const file = join(pod, `${name}.tmp`);
      return { file, writer: await TextWriter.create(file), separator: '' };
    };
    return new ManifestLists(root, [await list('units'), await list('inputs'), await list('outputs')]);
  }

  /** Adds what a verdict says; `outputs` are those that no unit before it had. */
  add({ unit, exitCode, failure }: Verdict, outputs: readonly OutputRecord[]): void {
    const done = unit.state === 'reused' ? 'Reused' : 'Done';
    addEntry(this.#units, {
      name: unit.name,
      key: unit.key,
      outcome: failure === undefined ? done : 'Failed',
      ...(unit.from === undefined ? {} : { from: unit.from }),
      ...(unit.rerun === undefined ? {} : { rerun: unit.rerun }),
      ...(exitCode === undefined ? {} : { exitCode }),
      ...failure,
    });
    for (const input of unit.inputs) addEntry(this.#inputs, this.#inputEntry(input));
    for (const { path, size, sha256 } of outputs) addEntry(this.#outputs, { path, size, sha256 });
  }

  #inputEntry(input: Unit['inputs'][number]): Record<string, unknown> {
    const { path, size, mtimeMs, annexKey, seconds, annotatedSeconds } = input;
    return {
      path: `${this.#root}/${path}`,
      size,
      mtime: new Date(mtimeMs).toISOString(),
      ...(annexKey === undefined ? {} : { annexKey }),
      ...(seconds === undefined ? {} : { seconds }),
      ...(annotatedSeconds === undefined ? {} : { annotatedSeconds }),
    };
  }

  /** Lets entries go to the disk. */
  async drain(): Promise<void> {
    for (const { writer } of this.#all()) {
      // oxlint-disable-next-line no-await-in-loop -- three files
      await writer.drain();
    }
  }

  /** Ends the lists; throws when the disk did not take them. */
  async finish(): Promise<void> {
    await Promise.all(this.#all().map(({ writer }) => writer.finish()));
  }

  /** The lists as they stand in the manifest, in its order. */
  blocks(): Readonly<Record<string, AsyncIterable<Buffer>>> {
    return {
      units: createReadStream(this.#units.file),
      inputs: createReadStream(this.#inputs.file),
      outputs: createReadStream(this.#outputs.file),
    };
  }

  /** Removes the files, whatever state they are in; what cannot be removed goes with the staging. */
  async remove(): Promise<void> {
    const removals = this.#all().map(async ({ file, writer }) => {
      await writer.close();
      await rm(file, { force: true });
    });
    await Promise.allSettled(removals);
  }

  #all(): readonly List[] {
    return [this.#units, this.#inputs, this.#outputs];
  }
}
