import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { rightOf } from '../../test/support/verbs.ts';

const TASKS = '/apis/analysis.elsi.dev/v1alpha1/namespaces/a/analysistasks';

describe('rightOf()', () => {
  const cases: Readonly<Record<string, string | undefined>> = {
    [`GET ${TASKS}?limit=500`]: 'list analysis.elsi.dev/analysistasks',
    [`GET ${TASKS}?watch=1&resourceVersion=7`]: 'watch analysis.elsi.dev/analysistasks',
    [`GET ${TASKS}/t`]: 'get analysis.elsi.dev/analysistasks',
    [`PUT ${TASKS}/t/status`]: 'update analysis.elsi.dev/analysistasks/status',
    'GET /apis/analysis.elsi.dev/v1alpha1/analysismodels/m': 'get analysis.elsi.dev/analysismodels',
    'DELETE /api/v1/namespaces/a/pods/p': 'delete pods',
    'DELETE /api/v1/namespaces/a/pods': 'deletecollection pods',
    'POST /apis/batch/v1/namespaces/a/jobs': 'create batch/jobs',
    'GET /api/v1/nodes/n': 'get nodes',
    'GET /version': undefined,
  };
  for (const [request, right] of Object.entries(cases))
    it(`${request} needs ${right ?? 'no right'}`, () => {
      const [method = '', path = ''] = request.split(' ');
      assert.equal(rightOf({ method, path }), right);
    });
});
