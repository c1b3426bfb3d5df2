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

/** A standard condition (metav1.Condition). */
export const condition = z.object({
  type: z
    .string()
    .max(64)
    .regex(/^[A-Z][A-Za-z]*$/),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z
    .string()
    .min(1)
    .max(64)
    .regex(/^[A-Z][A-Za-z0-9]*$/),
  message: z.string().max(1024),
  lastTransitionTime: z.iso.datetime(),
  observedGeneration: z.int().min(0).optional(),
});
export type Condition = Readonly<z.infer<typeof condition>>;
