import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { z } from 'zod';
import { KINDS, rootSchema, sections } from '../../hack/gen/crd.ts';
import { API_VERSION } from '../../src/api/keys.ts';
import { failureOf, type Answer } from '../support/api.ts';
import { type BoundRow, boundRows } from '../support/bounds.ts';
import { controlPlane, deleteAtEnd, expectOk, freshNamespace } from '../support/control-plane.ts';
import { withValue } from '../support/mutate.ts';
import { readSample, type Sample } from '../support/samples.ts';
import { RULE_CASES, type RuleCase, steps } from './rules.ts';

type Kind = RuleCase['kind'];

let namespace = '';
let models = 0;

const collection = (kind: Kind): string =>
  kind === 'AnalysisTask'
    ? `/apis/${API_VERSION}/namespaces/${namespace}/analysistasks`
    : `/apis/${API_VERSION}/analysismodels`;

const create = (kind: Kind, body: Sample, query = ''): Promise<Answer> =>
  controlPlane().api.call('POST', `${collection(kind)}${query}`, { body });

const put = (kind: Kind, body: Sample, subresource = '', query = ''): Promise<Answer> =>
  controlPlane().api.call('PUT', `${collection(kind)}/${body.metadata.name}${subresource}${query}`, { body });

const stored = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({}),
  status: z.looseObject({}).optional(),
});

/** Creates the object for good, with its status, under a name of its own. */
async function store(kind: Kind, object: Sample): Promise<Sample> {
  models += 1;
  const name = `stored-${process.pid}-${models}`;
  const created = stored.parse(expectOk(await create(kind, withValue(object, ['metadata', 'name'], name))));
  deleteAtEnd(`${collection(kind)}/${name}`);
  return stored.parse(expectOk(await put(kind, { ...created, status: object.status }, '/status')));
}

const DRY_RUN = '?dryRun=All';

function changed(object: Sample, changes: readonly (readonly [string, unknown])[]): Sample {
  return changes.reduce((current, [path, value]) => withValue(current, steps(path), value), object);
}

/** Sends one change as the rule case says, without keeping it. */
async function attempt(
  { kind, via }: RuleCase,
  base: Sample,
  changes: Parameters<typeof changed>[1],
): Promise<Answer> {
  const object = changed(base, changes);
  if (via === 'create') return create(kind, object, DRY_RUN);
  return put(kind, object, via === 'status' ? '/status' : '', DRY_RUN);
}

const base = async ({ kind, via, from = [] }: RuleCase): Promise<Sample> => {
  const object = changed(readSample(kind.toLowerCase()), from);
  return via === 'create' ? object : store(kind, object);
};

const tried = (cases: 'accepted' | 'refused', message: string): boolean =>
  RULE_CASES.some((rule) => message.startsWith(rule.rule) && Object.keys(rule[cases]).length > 0);

before(async () => {
  namespace = await freshNamespace('api');
});

describe('the rules of the CRDs, on a real API server', () => {
  for (const rule of RULE_CASES)
    describe(`${rule.kind}: ${rule.rule}${rule.from === undefined ? '' : ` (${JSON.stringify(rule.from)})`}`, () => {
      let object: Sample;
      before(async () => {
        object = await base(rule);
      });
      for (const [what, changes] of Object.entries(rule.accepted))
        it(`accepts ${what}`, async () => {
          expectOk(await attempt(rule, object, changes));
        });
      for (const [what, changes] of Object.entries(rule.refused))
        it(`refuses ${what}`, async () => {
          const { message, details } = failureOf(await attempt(rule, object, changes));
          const said = details?.causes?.some((cause) => cause.message?.includes(rule.rule)) ?? false;
          assert.ok(said, message);
        });
    });

  it('are all tried, with a good and a bad sample each', () => {
    const messages = KINDS.flatMap(
      (source) => JSON.stringify(rootSchema(source)).match(/"message":"(?:[^"\\]|\\.)*"/g) ?? [],
    );
    const all = messages.map(
      (text) => z.object({ message: z.string() }).parse(JSON.parse(`{${text}}`)).message,
    );
    assert.ok(all.length > 20, `${all.length} rules`);
    assert.deepEqual(
      all.filter((message) => !tried('accepted', message) || !tried('refused', message)),
      [],
    );
  });
});

/** Sends one row without keeping it; the status goes through its subresource. */
function send(kind: Kind, object: Sample, { path, value }: BoundRow): Promise<Answer> {
  const body = withValue(object, path, value);
  return path[0] === 'status' ? put(kind, body, '/status', DRY_RUN) : create(kind, body, DRY_RUN);
}

for (const source of KINDS)
  for (const part of ['spec', 'status'] as const)
    describe(`every bound of ${source.kind}.${part}, on a real API server`, () => {
      const kind = source.kind === 'AnalysisTask' ? 'AnalysisTask' : 'AnalysisModel';
      const sample = readSample(kind.toLowerCase());
      const root =
        part === 'status' ? withValue(sample, ['status'], { ...sample.status, phase: 'Pending' }) : sample;
      let object: Sample;
      before(async () => {
        object = part === 'spec' ? sample : await store(kind, changed(root, weakened(kind)));
      });
      for (const row of boundRows(sections(source)[part], root[part], part))
        it(`${row.message === undefined ? 'accepts the limit' : 'refuses a breach'} of ${row.bound} of ${row.field}`, async () => {
          const answer = await send(kind, { ...object, status: root.status }, row);
          if (row.message === undefined) expectOk(answer);
          else assertRefused(answer, row);
        });
    });

/** A stored attempt 1 without a Job lets the rows change what the transition rules would protect. */
function weakened(kind: Kind): readonly (readonly [string, unknown])[] {
  return kind === 'AnalysisTask'
    ? [
        ['status.attempt.number', 1],
        ['status.attempt.jobUID', undefined],
      ]
    : [];
}

function assertRefused(answer: Answer, { field, message }: BoundRow): void {
  const { causes = [] } = failureOf(answer).details ?? {};
  const said = causes.some((cause) => cause.field === field && message?.test(cause.message ?? ''));
  assert.ok(said, JSON.stringify(causes));
}
