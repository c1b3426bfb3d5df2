import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { parse } from 'yaml';
import { z } from 'zod';
import { modelSpec } from '../../src/api/model.ts';
import { taskSpec } from '../../src/api/task.ts';
import { CHILDPROJECT_IMAGE, MODEL_IMAGES } from './images.ts';
import { POCKETSPHINX, SILERO } from './tasks.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const object = z.object({ kind: z.string(), metadata: z.object({ name: z.string() }), spec: z.unknown() });

function read(directory: string): readonly z.output<typeof object>[] {
  return readdirSync(join(ROOT, directory))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => object.parse(parse(readFileSync(join(ROOT, directory, file), 'utf8'))));
}

describe('the catalogue in models/', () => {
  const models = read('models').map(({ metadata, spec }) => ({
    name: metadata.name,
    spec: modelSpec.parse(spec),
  }));

  it('has the models that the demo asks for, and one of each that ELSI may ask for', () => {
    const names = models.map(({ name }) => name);
    for (const name of [POCKETSPHINX, SILERO]) assert.ok(names.includes(name), name);
    for (const asked of ['vtc-1', 'vtc-2', 'alice', 'acoustics', 'w2v2', 'metrics'])
      assert.ok(
        names.some((name) => name.startsWith(`${asked}-`)),
        asked,
      );
  });

  it('has all models whose images are built here', () => {
    const built = [...MODEL_IMAGES, CHILDPROJECT_IMAGE].map(({ tag }) => tag);
    const used = new Set(models.map(({ spec }) => spec.image));
    assert.deepEqual(
      built.filter((tag) => !used.has(tag)),
      [],
    );
  });

  for (const { name, spec } of models) {
    it(`${name} carries its version in its name`, () => {
      assert.ok(name.endsWith(`-${spec.version.replaceAll('.', '-')}`), spec.version);
    });

    it(`${name} uses an image that images/models builds, or whose recipe there says that it was not built`, () => {
      const [, directory = '', tag] =
        /^localhost\/analysis-operator\/([a-z0-9-]+):(.+)$/.exec(spec.image) ?? [];
      const recipe = join(ROOT, 'images/models', directory);
      const readme = readFileSync(join(recipe, 'README.md'), 'utf8');
      assert.ok(readme.includes(`models/${name}.yaml`), `${directory}/README.md names the entry`);
      const built = [...MODEL_IMAGES, CHILDPROJECT_IMAGE].some((image) => image.tag === spec.image);
      assert.equal(existsSync(join(recipe, 'Dockerfile')), built);
      assert.equal(tag, spec.version);
      if (!built) assert.match(readme, /Not built and not run by this project's tests/);
    });

    it(`${name} uses every parameter that it declares`, () => {
      const command = (spec.run.command ?? []).join(' ');
      const unused = (spec.parameters ?? []).filter(
        (parameter) => !command.includes(`{param.${parameter.name}}`),
      );
      assert.deepEqual(unused, []);
    });

    it(`${name} says under which licence it stands and what to cite`, () => {
      assert.ok(spec.provenance?.licence);
      assert.ok(spec.provenance.citation);
    });
  }
});

describe('the samples in hack/samples/', () => {
  for (const { kind, metadata, spec } of read('hack/samples')) {
    it(`${kind} ${metadata.name} is valid`, () => {
      const schema = kind === 'AnalysisModel' ? modelSpec : taskSpec;
      assert.equal(schema.safeParse(spec).error, undefined);
    });
  }
});
