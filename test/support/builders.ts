import { AnalysisModel, AnalysisTask } from '../../src/api/kinds.ts';
import type { ModelSpecInput } from '../../src/api/model.ts';
import type { TaskSpecInput } from '../../src/api/task.ts';

type Meta = { readonly name?: string; readonly namespace?: string };

/** A task that names only what it must; `spec` overrides. */
export function aTask(
  { name = 'a-task', namespace }: Meta = {},
  spec: Partial<TaskSpecInput> = {},
): AnalysisTask {
  return new AnalysisTask({
    metadata: { name, ...(namespace !== undefined && { namespace }) },
    spec: { model: 'vad-1-0', dataset: { path: 'lab1/corpus' }, ...spec },
  });
}

/** A model that runs once per file and names only what it must; `spec` overrides. */
export function aModel(
  { name = 'vad-1-0' }: Pick<Meta, 'name'> = {},
  spec: Partial<ModelSpecInput> = {},
): AnalysisModel {
  return new AnalysisModel({
    metadata: { name },
    spec: {
      version: '1.0',
      image: `registry.example/vad@sha256:${'0'.repeat(64)}`,
      run: { per: 'File', command: ['detect', '{input}', '{output}'] },
      outputs: [{ path: 'raw/{reldir}/{stem}.rttm' }],
      ...spec,
    },
  });
}
