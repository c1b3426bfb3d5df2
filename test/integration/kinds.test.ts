import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { before, describe, it } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { ROOT } from '../../hack/gen/files.ts';
import { API_VERSION } from '../../src/api/keys.ts';
import { AnalysisModel, AnalysisTask } from '../../src/api/kinds.ts';
import { modelSpec } from '../../src/api/model.ts';
import { taskSpec } from '../../src/api/task.ts';
import { failureOf } from '../support/api.ts';
import { aModel, aTask } from '../support/builders.ts';
import { controlPlane, deleteAtEnd, expectOk, freshNamespace } from '../support/control-plane.ts';
import { withValue } from '../support/mutate.ts';
import { readSample } from '../support/samples.ts';

let namespace = '';
before(async () => {
  namespace = await freshNamespace('kinds');
});

const MODELS = `/apis/${API_VERSION}/analysismodels`;
const tasks = (): string => `/apis/${API_VERSION}/namespaces/${namespace}/analysistasks`;
const STRICT = '?dryRun=All&fieldValidation=Strict';

const outline = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});

/** Creates one of our objects in the test's namespace, refusing unknown fields, without keeping it. */
async function tryStrictly(object: unknown): Promise<void> {
  const { kind } = outline.parse(object);
  const body = kind === 'AnalysisTask' ? withValue(object, ['metadata', 'namespace'], namespace) : object;
  expectOk(
    await controlPlane().api.call('POST', `${kind === 'AnalysisTask' ? tasks() : MODELS}${STRICT}`, { body }),
  );
}

function ours(text: string): readonly unknown[] {
  return parseAllDocuments(text)
    .map((document): unknown => document.toJS())
    .filter((object) => AnalysisTask.is(object) || AnalysisModel.is(object));
}

/** The YAML blocks of a page; `...` in a digest stands for 64 digits. */
function blocks(page: string): string {
  const found = [...page.matchAll(/```yaml\n([^]*?)```/g)].map(([, block]) => block ?? '');
  return found.join('\n---\n').replaceAll('sha256:...', `sha256:${'0'.repeat(64)}`);
}

const inFolder = (folder: string, ending: string): readonly string[] =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(ending))
    .map((name) => join(folder, name));

describe('manifests that people copy', () => {
  for (const file of [...inFolder('models', '.yaml'), ...inFolder('hack/samples', '.yaml')])
    it(`${file} is accepted, with no unknown field`, async () => {
      const objects = ours(readFileSync(join(ROOT, file), 'utf8'));
      assert.ok(objects.length > 0);
      for (const object of objects) await tryStrictly(object);
    });

  for (const file of [...inFolder('docs/kinds', '.md'), 'docs/guides/redis-workers.md'])
    it(`the example in ${file} is accepted, with no unknown field`, async () => {
      const objects = ours(blocks(readFileSync(join(ROOT, file), 'utf8')));
      assert.ok(objects.length > 0);
      for (const object of objects) await tryStrictly(object);
    });
});

const table = z.looseObject({
  columnDefinitions: z.array(z.looseObject({ name: z.string(), priority: z.number() })),
  rows: z.array(z.looseObject({ cells: z.array(z.unknown()) })),
});
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';

/** Column -> cell of the one row at `path`, as kubectl shows it; `wide` adds the columns of -o wide. */
async function shown(path: string, wide = false): Promise<Record<string, unknown>> {
  const answer = table.parse(expectOk(await controlPlane().api.call('GET', path, { accept: TABLE })));
  const [row] = answer.rows;
  const pairs = answer.columnDefinitions.map(({ name, priority }, i) => ({
    name,
    priority,
    cell: row?.cells[i],
  }));
  return Object.fromEntries(
    pairs.filter(({ priority }) => wide || priority === 0).map(({ name, cell }) => [name, cell]),
  );
}

const object = z.looseObject({
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({}),
  status: z.looseObject({}).optional(),
});

async function createTask(name: string, status?: object): Promise<z.infer<typeof object>> {
  const { api } = controlPlane();
  const body = { ...readSample('analysistask'), metadata: { name } };
  const created = object.parse(expectOk(await api.call('POST', tasks(), { body })));
  if (status === undefined) return created;
  return object.parse(
    expectOk(await api.call('PUT', `${tasks()}/${name}/status`, { body: { ...created, status } })),
  );
}

describe('what kubectl shows', () => {
  it('of a task: where it is, why, how far, and when it should end', async () => {
    const status = readSample('analysistask').status;
    await createTask('shown', { ...status });
    const { Age, ...columns } = await shown(`${tasks()}/shown`);
    assert.match(String(Age), /^\d+s$/);
    assert.deepEqual(columns, {
      Name: 'shown',
      Phase: 'Running',
      Reason: 'Running',
      Progress: '3/6',
      ETA: '2026-03-01T12:05:00Z',
      Model: 'everything-1-0',
      Dataset: 'Lab 1/élan corpus',
    });
    const wide = await shown(`${tasks()}/shown`, true);
    assert.deepEqual(
      [wide['Message'], wide['Attempt'], wide['ETA-P90']],
      ['The model works on recording 3 of 6', 2, '2026-03-01T12:07:00Z'],
    );
  });

  it('of a model: whether tasks may use it, why not, and how fast it was', async () => {
    const { api } = controlPlane();
    const sample = readSample('analysismodel');
    const name = `shown-${process.pid}`;
    const body = { ...sample, metadata: { name } };
    const created = object.parse(expectOk(await api.call('POST', MODELS, { body })));
    deleteAtEnd(`${MODELS}/${name}`);
    expectOk(
      await api.call('PUT', `${MODELS}/${name}/status`, { body: { ...created, status: sample.status } }),
    );
    const { Age, ...columns } = await shown(`${MODELS}/${name}`);
    assert.match(String(Age), /^\d+s$/);
    assert.deepEqual(columns, {
      Name: name,
      Ready: 'True',
      Reason: 'Valid',
      Version: '1.0.0',
      Per: 'File',
      GPU: 1,
      Rate: '1 h of audio in 1.2 min',
    });
    assert.equal((await shown(`${MODELS}/${name}`, true))['On'], 'NVIDIA-A100-SXM4-40GB');
  });

  it('when it explains a field: our sentence', async () => {
    const answer = await controlPlane().api.call('GET', `/openapi/v3/apis/${API_VERSION}`);
    const text = JSON.stringify(expectOk(answer));
    assert.match(text, /Directory of the dataset, relative to the root of the store\./);
    assert.match(text, /Container image, by digest unless the operator runs with allowTags\./);
  });
});

describe('the API server', () => {
  it('fills in the defaults of a task', async () => {
    const { api } = controlPlane();
    const body = aTask({ name: 'defaults' });
    const { spec } = object.parse(expectOk(await api.call('POST', tasks(), { body })));
    assert.deepEqual(spec, {
      model: 'vad-1-0',
      dataset: { path: 'lab1/corpus' },
      desired: 'Run',
      priority: 'Normal',
      resume: true,
    });
  });

  it('fills in the defaults of a model as zod does', async () => {
    const model = aModel({ name: 'defaults' });
    const answer = await controlPlane().api.call('POST', `${MODELS}${STRICT}`, { body: model });
    const { spec } = object.parse(expectOk(answer));
    assert.deepEqual(spec, modelSpec.parse(model.spec));
  });

  it('refuses a field that a tenant may not have, such as an image', async () => {
    const body = withValue(readSample('analysistask'), ['spec', 'image'], 'evil');
    const answer = await controlPlane().api.call('POST', `${tasks()}${STRICT}`, { body });
    assert.match(failureOf(answer).message, /unknown field "spec\.image"/);
  });

  it('ignores a status that a user writes together with the spec', async () => {
    const { status } = await createTask('status-ignored');
    assert.equal(status, undefined);
  });

  it('finds tasks by model, dataset, phase and whether they are settled', async () => {
    await createTask('finds-open');
    await createTask('finds-done', { phase: 'Succeeded', settled: true });
    const list = z.looseObject({ items: z.array(object) });
    const named = async (selector: string): Promise<readonly string[]> => {
      const path = `${tasks()}?fieldSelector=${encodeURIComponent(selector)}`;
      const { items } = list.parse(expectOk(await controlPlane().api.call('GET', path)));
      return items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith('finds-'));
    };
    assert.deepEqual(await named('status.settled!=true'), ['finds-open']);
    assert.deepEqual(await named('status.phase=Succeeded'), ['finds-done']);
    assert.deepEqual(await named('spec.model=everything-1-0'), ['finds-done', 'finds-open']);
    assert.deepEqual(await named('spec.dataset.path=Lab 1/élan corpus'), ['finds-done', 'finds-open']);
    assert.deepEqual(await named('spec.dataset.path=other'), []);
  });

  it('and zod agree on every dataset path', async function () {
    this.timeout(120_000);
    const segment = fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.string({ maxLength: 4, unit: 'grapheme' }),
      fc.constantFrom('.', '..', '-', '-x', '.git', '', ' ', 'a.b', 'día', '\u007f', '\u0085', '\n'),
    );
    const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/'));
    const agree = fc.asyncProperty(path, async (text) => {
      const body = aTask({ name: 'path' }, { dataset: { path: text } });
      const { status } = await controlPlane().api.call('POST', `${tasks()}${STRICT}`, { body });
      assert.equal(status < 400, taskSpec.safeParse(body.spec).success, JSON.stringify(text));
    });
    await fc.assert(agree, { numRuns: 300 });
  });

  it('refuses the status of a stale copy', async () => {
    const stale = await createTask('stale');
    const { api } = controlPlane();
    const path = `${tasks()}/stale/status`;
    expectOk(await api.call('PUT', path, { body: { ...stale, status: { phase: 'Pending' } } }));
    const answer = await api.call('PUT', path, { body: { ...stale, status: { phase: 'Running' } } });
    assert.equal(failureOf(answer).reason, 'Conflict');
  });
});
