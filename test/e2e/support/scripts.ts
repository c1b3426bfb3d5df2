import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelSpecInput } from '../../../src/api/model.ts';
import { eventually } from '../../support/eventually.ts';
import { type Namespace, site, TASKS } from './site.ts';
import { get, model, onStore, podsOf } from './work.ts';

/** Writes one good RTTM line to the file "$2" names. */
const LINE = 'SPEAKER x 1 0.00 0.10 <NA> <NA> CHI <NA> <NA>';
/** For scripts: `good FILE` writes a complete RTTM file, `gate NAME` waits for a file of the dataset (see openGate). */
const PRELUDE = `
good() { mkdir -p "\${1%/*}" && echo '${LINE}' >"$1"; }
gate() { until [ -e "/data/$1" ]; do sleep 0.1; done; }
`;

type More = Partial<Omit<ModelSpecInput, 'run'>> & { readonly run?: Partial<ModelSpecInput['run']> };

/** A model whose one run is a script: "$1" is the directory of the recordings, "$2" that of the outputs. */
export function wholeModel(name: string, script: string, { run, ...spec }: More = {}): Promise<string> {
  const command = ['/bin/sh', '-c', PRELUDE + script, 'model', '{inputDir}', '{outputDir}'];
  return model(name, { ...spec, run: { per: 'Dataset', ...run, command } });
}

/** A model that runs a script for each recording: "$1" is the recording, "$2" its output, "$3" its name. */
export function fileModel(name: string, script: string, { run, ...spec }: More = {}): Promise<string> {
  const command = ['/bin/sh', '-c', PRELUDE + script, 'model', '{input}', '{output}', 'of {rel}'];
  return model(name, { ...spec, run: { per: 'File', ...run, command } });
}

/** Lets a script go on that waits at `gate`. */
export async function openGate(dataset: string, gate: string, namespace: Namespace = TASKS): Promise<void> {
  await writeFile(onStore(join(dataset, gate), namespace), '');
}

export async function patchTask(name: string, spec: object, namespace: Namespace = TASKS): Promise<void> {
  const patch = JSON.stringify({ spec });
  await site().kube.run(['patch', 'atask', name, '-n', namespace, '--type=merge', '-p', patch]);
}

/** The pod of an attempt, as soon as it is there. */
export async function podOf(name: string, attempt = 1, namespace: Namespace = TASKS) {
  return eventually(
    `${name} has pod ${attempt}`,
    async () => {
      const uid = (await get(name, namespace))?.metadata.uid;
      if (uid === undefined) return undefined;
      const pods = await podsOf(uid, namespace);
      return pods.find(
        ({ metadata }) => metadata.annotations?.['analysis.elsi.dev/attempt'] === String(attempt),
      );
    },
    120_000,
  );
}
