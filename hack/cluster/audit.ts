import { stringify } from 'yaml';

const policy = (rules: readonly object[]): string =>
  stringify({
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived', 'ResponseStarted'],
    rules,
  });
/** What an audit log keeps: of all requests who asked for what, or of all writes also what was sent and answered. */
export const AUDIT_POLICIES = {
  requests: policy([{ level: 'Metadata' }]),
  writes: policy([
    { level: 'None', verbs: ['get', 'list', 'watch'] },
    { level: 'None', resources: [{ group: 'coordination.k8s.io' }, { group: '', resources: ['events'] }] },
    { level: 'None', resources: [{ group: 'events.k8s.io' }] },
    { level: 'RequestResponse' },
  ]),
} as const;
