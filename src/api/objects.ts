import { z } from 'zod';
import { modelSpec, modelStatus } from './model.ts';
import { taskSpec, taskStatus } from './task.ts';

/** What the operator needs of ObjectMeta; everything else passes through untouched. */
export const objectMeta = z.object({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string(),
  resourceVersion: z.string(),
  generation: z.number().optional(),
  creationTimestamp: z.string(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  finalizers: z.array(z.string()).optional(),
});

export const analysisTask = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: objectMeta.extend({ namespace: z.string() }),
  spec: taskSpec,
  status: taskStatus.optional(),
});

export const analysisModel = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: objectMeta,
  spec: modelSpec,
  status: modelStatus.optional(),
});

export type AnalysisTask = z.output<typeof analysisTask>;
export type AnalysisModel = z.output<typeof analysisModel>;
