import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { lifetime } from './session.ts';
import { DATASET_UID, SETTINGS, UID, listed } from './testing/fixtures.ts';
import { desiredRun } from './run.ts';
import { datasetUuid, parseItem } from './wire.ts';

const item = {
  task_uid: UID,
  model_name: 'vtc',
  status_label: 'pending',
  user_uid: 'u',
  dataset_name: 'corpus',
  dataset_uid_label: `corpus_${DATASET_UID}`,
  created: '2026-03-01T10:00:00+01:00',
  modified: '2026-03-01T10:00:00+01:00',
};

describe('parseItem()', () => {
  const good: Readonly<Record<string, [change: object, check: object]>> = {
    'reads what ELSI lists': [{}, { uid: UID, model: 'vtc', status: 'PENDING', user: 'u' }],
    'takes a status in any case': [{ status_label: 'RuNNing' }, { status: 'RUNNING' }],
    'takes the duration that it shows': [{ estimated_duration: 90 }, { estimatedSeconds: 90 }],
    'takes no duration that is no number': [{ estimated_duration: 'soon' }, {}],
    'takes a uid in any case': [{ task_uid: UID.toUpperCase() }, { uid: UID }],
    'leaves unknown fields out': [{ credits: 12, nested: { a: [1] } }, { status: 'PENDING' }],
    'does without a user': [{ user_uid: null }, { user: undefined }],
  };
  for (const [name, [change, check]] of Object.entries(good))
    it(name, () => {
      const parsed = parseItem({ ...item, ...change });
      assert.ok(parsed.ok);
      assert.deepEqual({ ...parsed.task, ...check }, parsed.task);
    });

  const bad: Readonly<Record<string, [raw: unknown, uid: string | undefined, problem: RegExp]>> = {
    'a uid that is no UUID': [
      { ...item, task_uid: '../x' },
      undefined,
      /task_uid is "\.\.\/x" but must be a UUID/,
    ],
    'a status that nobody knows': [{ ...item, status_label: 'archived' }, UID, /status_label is "archived"/],
    'a model that is no text': [{ ...item, model_name: 7 }, UID, /model_name/],
    'a missing dataset': [{ ...item, dataset_uid_label: undefined }, UID, /dataset_uid_label/],
    'no object at all': ['task', undefined, /the item/],
    nothing: [null, undefined, /the item/],
  };
  for (const [name, [raw, uid, problem]] of Object.entries(bad))
    it(`refuses ${name}`, () => {
      const parsed = parseItem(raw);
      assert.ok(!parsed.ok);
      assert.equal(parsed.bad.uid, uid);
      assert.match(parsed.bad.problem, problem);
    });

  it('throws for nothing that JSON can say', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        parseItem(value);
      }),
    );
  });
});

describe('a dataset', () => {
  const rows: Readonly<Record<string, [label: string, template: string, path: string | RegExp]>> = {
    'of a label name_uuid': [`corpus_${DATASET_UID}`, '{uuid}', DATASET_UID],
    'of a name with underscores': [`my_first_corpus_${DATASET_UID}`, '{uuid}', DATASET_UID],
    'of a label name-uuid': [`corpus-${DATASET_UID}`, '{uuid}', DATASET_UID],
    'of a bare UUID': [DATASET_UID, '{uuid}', DATASET_UID],
    'of a label without a UUID': ['corpus', '{uuid}', 'corpus'],
    'by its whole label, in a folder': [
      `corpus_${DATASET_UID}`,
      'datasets/{label}',
      `datasets/corpus_${DATASET_UID}`,
    ],
    'that climbs': ['../../etc', '{label}', /dataset_uid_label is "\.\.\/\.\.\/etc"/],
    'that climbs in the middle': [`a/../../b_${DATASET_UID}`, '{label}', /dataset_uid_label/],
    'with a NUL': ['a\u0000b', '{label}', /dataset_uid_label/],
    'with an encoded climb, which is only a name': ['%2e%2e', '{label}', '%2e%2e'],
  };
  for (const [name, [datasetLabel, datasetPath, expected]] of Object.entries(rows))
    it(name, () => {
      const desired = desiredRun(listed({ datasetLabel }), 1, { ...SETTINGS, datasetPath });
      if (typeof expected === 'string')
        assert.equal(desired.ok && desired.object.spec.dataset.path, expected);
      else assert.match(desired.ok ? 'accepted' : desired.problem, expected);
    });

  it('never leaves the store, whatever its label says', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('.', '/', '-', 'a', '\0', '_') }), (datasetLabel) => {
        const desired = desiredRun(listed({ datasetLabel }), 1, { ...SETTINGS, datasetPath: 'lab/{label}' });
        if (!desired.ok) return;
        const path = String(desired.object.spec.dataset.path);
        assert.ok(path.startsWith('lab/') && !path.split('/').includes('..'), path);
      }),
    );
  });

  it('has the last 36 characters for its UUID only when they are one', () => {
    assert.equal(datasetUuid('x'.repeat(80)), 'x'.repeat(80));
  });
});

describe('lifetime() of a token', () => {
  const rows: readonly (readonly [unknown, number])[] = [
    [3600, 3600],
    ['3600', 3600],
    [1, 5],
    [0, 60],
    [-7, 60],
    [1e12, 86_400],
    [Number.NaN, 60],
    ['', 60],
    ['soon', 60],
    [undefined, 60],
    [null, 60],
    [{}, 60],
  ];
  for (const [given, seconds] of rows)
    it(`of ${JSON.stringify(given) ?? 'nothing'} is ${seconds} s`, () =>
      assert.equal(lifetime(given), seconds));
});
