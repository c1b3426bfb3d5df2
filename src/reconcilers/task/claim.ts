import { z } from 'zod';

const identity = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string(),
  resourceVersion: z.string(),
  deletionTimestamp: z.string().optional(),
});

const rawClaim = z.object({
  metadata: identity,
  status: z.object({ phase: z.string().optional() }).optional(),
});

/** A PersistentVolumeClaim, reduced to whether pods can use it. */
export interface ClaimView {
  readonly metadata: z.infer<typeof identity>;
  readonly phase: string;
}

export function claimView(raw: unknown): ClaimView {
  const { metadata, status } = rawClaim.parse(raw);
  return { metadata, phase: status?.phase ?? 'Pending' };
}

/** What keeps tasks of a namespace from using the store, in a sentence with the fix. */
export function storeProblem(
  claim: ClaimView | undefined,
  name: string,
  namespace: string,
): string | undefined {
  const which = `PersistentVolumeClaim "${name}" in namespace "${namespace}"`;
  if (!claim)
    return `${which} does not exist: ask the administrator to create it, it is the store with the datasets`;
  if (claim.metadata.deletionTimestamp) return `${which} is being deleted`;
  if (claim.phase === 'Lost') return `${which} has lost its volume`;
  return undefined; // Pending is fine: a volume may be bound only when the first pod is scheduled
}
