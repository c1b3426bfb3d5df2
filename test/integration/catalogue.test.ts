import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { ROOT } from '../../hack/gen/files.ts';
import { RECORDINGS, wav } from '../../src/agent/testing/fixtures.ts';
import { catalogueSpec } from '../support/catalogue.ts';
import { controlPlane, expectOk } from '../support/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { type Lab, openLab } from '../support/lab.ts';
import { type Operator, startOperator } from '../support/operator.ts';
import { aStoreAgent, type StoreAgent } from '../support/store-agent.ts';

/** What the import of VTC's annotations leaves in a dataset. */
const IMPORTED: Readonly<Record<string, string>> = {
  'annotations/vtc/converted/child 1/a_0_1000.csv': 'segment_onset,segment_offset\n0,1000\n',
  'metadata/annotations.csv': 'set,recording_filename,annotation_filename\n',
};
/** What the dataset has from the start. */
const INDEX = ['metadata/children.csv', 'metadata/recordings.csv', `${RECORDINGS}/recordings.csv`];
/** Models that work on what another one found. */
const LATER = ['acoustics-0-4-6', 'w2v2-1-0'];

describe('the catalogue on an API server', () => {
  let lab: Lab;
  let agent: StoreAgent;
  let operator: Operator | undefined;
  beforeEach(async () => {
    lab = await openLab('catalogue');
    agent = await aStoreAgent();
  });
  afterEach(async () => {
    await operator?.stop();
    await agent.remove();
  });

  it('takes every entry as it is', async () => {
    for (const file of await readdir(join(ROOT, 'models'))) {
      const name = file.replace(/\.yaml$/, '');
      await lab.model(name, await catalogueSpec(name));
    }
  });

  it('acoustics-0-4-6 and w2v2-1-0 wait for the VTC annotations, say so, and start by themselves after the import', async () => {
    await agent.put(`corpus/${RECORDINGS}/child 1/a.wav`, wav());
    for (const path of INDEX) await agent.put(`corpus/${path}`, 'a\n');
    await agent.start();
    operator = await startOperator({
      kubeconfig: controlPlane().kubeconfig,
      namespace: lab.namespace,
      config: { allowTags: true, storeAgent: { urlTemplate: agent.url(), tokenFile: agent.tokenFile } },
    });
    for (const name of LATER)
      expectOk(await lab.task(name, { model: await lab.model(name, await catalogueSpec(name)) }));
    for (const name of LATER) {
      const blocked = await lab.until(name, 'blocked', ({ reason }) => reason === 'RequirementsMissing');
      assert.equal(blocked.phase, 'Pending');
      assert.match(
        blocked.message ?? '',
        /needs "annotations\/vtc\/converted\/.*run the analysis that makes it first/,
      );
      assert.deepEqual(await lab.jobs(name), []);
    }
    for (const [path, content] of Object.entries(IMPORTED)) await agent.put(`corpus/${path}`, content);
    const started = async (name: string) => ((await lab.jobs(name)).length > 0 ? true : undefined);
    for (const name of LATER) await eventually(`${name} starts`, () => started(name), 90_000);
  });
});
