/** Names that the demo gives to what it makes; clean.ts removes exactly these. */
export const NAMESPACE = 'analysis-demo';
export const SYSTEM_NAMESPACE = 'analysis-system';
export const RELEASE = 'analysis-operator';
export const CLAIM = 'analysis-store';
export const VOLUME = 'analysis-demo-store';
/** Counts the runs of the demo; every task carries it. */
export const RUN_LABEL = 'demo.analysis.elsi.dev/run';
/** uid and gid of every task's pod; owners of the store. */
export const OWNER = 1000;
