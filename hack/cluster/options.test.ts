import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseOptions } from './options.ts';

describe('parseOptions', () => {
  it('prefers flags to the environment and the environment to defaults', () => {
    const env = { ANALYSIS_CLUSTER_DRIVER: 'kind', ANALYSIS_CLUSTER_GPUS: '2', ANALYSIS_CLUSTER_NAME: '' };
    const options = parseOptions({ driver: 'native', kwokNodes: '3' }, env);
    assert.equal(options.driver, 'native');
    assert.equal(options.gpus, 2);
    assert.equal(options.kwokNodes, 3);
    assert.equal(options.name, 'analysis-operator');
  });

  it('leaves the driver open when nobody chose one', () => {
    assert.equal(parseOptions({}, {}).driver, undefined);
  });

  it('makes the state directory absolute and derives it from the name', () => {
    assert.match(parseOptions({ name: 'second' }, {}).state, /^\/.*second-cluster$/);
    assert.match(parseOptions({ state: 'x' }, {}).state, /^\/.*\/x$/);
  });

  it('names every problem at once', () => {
    assert.throws(
      () => parseOptions({ driver: 'docker', gpus: '-1', name: 'No' }, {}),
      /driver: .*name: .*gpus: /,
    );
  });
});
