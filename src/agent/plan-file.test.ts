import { afterEach, beforeEach, describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EXIT } from '../api/request.ts';
import { aRequest, aStore, RECORDINGS } from './testing/fixtures.ts';
import type { TestStore } from './testing/fixtures.ts';

describe('plan.json', () => {
  let store: TestStore;
  beforeEach(async () => {
    store = await aStore();
  });
  afterEach(() => store.remove());

  it('is one JSON document, a unit a line', async () => {
    for (const name of ['a', 'b']) await store.put(`${RECORDINGS}/${name}.wav`);
    const pod = store.pod(aRequest());
    await pod.step('prepare');
    const text = await readFile(join(pod.staging, 'plan.json'), 'utf8');
    const plan = JSON.parse(text);
    assert.equal(Object.keys(plan).join(), 'schema,taskUID,podUID,attempt,createdAt,planHash,units');
    assert.equal(text.split('\n').length, 5);
    assert.deepEqual(JSON.parse(text.split('\n')[2] ?? ''), plan.units[1]);
  });

  const damages: Record<string, (text: string) => string> = {
    'is cut off between two units': (text) => text.slice(0, text.lastIndexOf(']}')),
    'is cut off within a unit': (text) => text.slice(0, text.length / 2),
    'holds a unit of another version': (text) => text.replace('"state"', '"stat"'),
    'is something else': () => '{}\n',
  };
  for (const [sentence, damage] of Object.entries(damages)) {
    it(`is not believed when it ${sentence}`, async () => {
      await store.put(`${RECORDINGS}/a.wav`);
      const pod = store.pod(aRequest());
      await pod.step('prepare');
      const file = join(pod.staging, 'plan.json');
      await writeFile(file, damage(await readFile(file, 'utf8')));
      for (const step of ['prepare', 'publish'] as const) {
        const { code, report } = await pod.step(step);
        assert.equal(code, EXIT.internal);
        assert.match(report.message, /plan.json" is damaged: start the task again/);
      }
    });
  }
});
