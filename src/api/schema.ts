import { z } from 'zod';

/** A rule of the Common Expression Language that the API server enforces. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired';
  readonly fieldPath?: string;
}

/** Schema metadata that carries CEL rules into the CRD. */
export function rules(...list: CelRule[]): { 'x-kubernetes-validations': CelRule[] } {
  return { 'x-kubernetes-validations': list };
}

/** Marks a list as a map keyed by the given fields, so server-side apply merges by key. */
export function listMap(...keys: string[]): Record<string, unknown> {
  return { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys };
}

export const setList = { 'x-kubernetes-list-type': 'set' } as const;

/** An RFC 1123 label: the name of most Kubernetes objects here. */
export const dnsLabel = (): z.ZodString =>
  z
    .string()
    .min(1)
    .max(63)
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);

/** A Kubernetes quantity such as `500m`, `4Gi` or `2`. */
export const quantity = (): z.ZodString =>
  z
    .string()
    .max(32)
    .regex(/^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/);

/**
 * A path or glob relative to a directory that the operator knows. The pattern refuses empty segments and control
 * characters, the rule refuses `.` and `..`; `what` is how the message names the field.
 */
export const relativePath = (what: string): z.ZodString =>
  z
    .string()
    .min(1)
    .max(512)
    .regex(/^[^/\p{Cc}]+(\/[^/\p{Cc}]+)*$/u)
    .meta(
      rules({
        rule: "!self.split('/').exists(s, s == '.' || s == '..')",
        message: `${what} must stay below its directory: no "." or ".." segment`,
      }),
    );

/** An absolute path inside a container; no segment consists of dots only. */
export const absolutePath = (): z.ZodString =>
  z
    .string()
    .max(512)
    .regex(/^(\/[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*)+$/);

/** A standard condition (metav1.Condition). */
export const condition = z.object({
  type: z
    .string()
    .max(64)
    .regex(/^[A-Z][A-Za-z]*$/)
    .describe('Name of the condition, unique in the list.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether the condition holds.'),
  reason: z
    .string()
    .min(1)
    .max(64)
    .regex(/^[A-Z][A-Za-z0-9]*$/)
    .describe('One word that says why.'),
  message: z.string().max(1024).describe('One sentence for people.'),
  lastTransitionTime: z.iso.datetime().describe('When status last changed.'),
  observedGeneration: z.int().min(0).optional().describe('Generation of the spec that this is about.'),
});
export type Condition = Readonly<z.infer<typeof condition>>;
