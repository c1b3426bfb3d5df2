/** What the work on an input grows with: the unit in which models declare effort, agents measure it and rates are learnt. */
export const EFFORTS = ['Bytes', 'AudioSeconds', 'AnnotatedSeconds'] as const;
export type Effort = (typeof EFFORTS)[number];
