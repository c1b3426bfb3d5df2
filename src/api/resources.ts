import { GROUP, VERSION } from './keys.ts';

/** Where the operator's kinds and those that it touches live in the Kubernetes API. */
export const TASKS = {
  group: GROUP,
  version: VERSION,
  plural: 'analysistasks',
  kind: 'AnalysisTask',
  namespaced: true,
} as const;
export const MODELS = {
  group: GROUP,
  version: VERSION,
  plural: 'analysismodels',
  kind: 'AnalysisModel',
  namespaced: false,
} as const;
export const JOBS = { group: 'batch', version: 'v1', plural: 'jobs', kind: 'Job', namespaced: true } as const;
export const PODS = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true } as const;
export const CLAIMS = {
  group: '',
  version: 'v1',
  plural: 'persistentvolumeclaims',
  kind: 'PersistentVolumeClaim',
  namespaced: true,
} as const;
/** Read one by one, for the label that names a node's GPU. */
export const NODES = { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false } as const;
/** Core events, where the Job controller says why it cannot create a pod. */
export const CORE_EVENTS = {
  group: '',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
} as const;
