import { z } from 'zod';
import { configSchema } from '../../src/config.ts';
import { elsiConfigSchema } from '../../src/elsi/config.ts';
import type { Generated } from './files.ts';

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const orEmpty = (pattern: RegExp): z.ZodString =>
  z
    .string()
    .max(253)
    .regex(new RegExp(`^$|${pattern.source}`));

const strings = z.record(z.string(), z.string());
const anything = z.looseObject({});
const namespaces = z.array(z.string().max(63).regex(LABEL));
const priority = z.int().min(-2147483648).max(1000000000);
const limits = z.strictObject({ requests: anything.optional(), limits: anything.optional() });
const pullPolicy = z.enum(['Always', 'IfNotPresent', 'Never']);

const { store, agent, leaderElection, health, priorityClasses, ...sameInChart } = configSchema.shape;

/** What the chart fills in may be empty here, and what Kubernetes names is checked as such. */
const config = z.strictObject({
  ...sameInChart,
  namespaces,
  store: store.extend({ claimName: z.string().min(1).max(253).regex(SUBDOMAIN) }),
  agent: z.strictObject({ image: z.string().describe(agent.shape.image.description ?? '') }),
  leaderElection: leaderElection.unwrap().safeExtend({ namespace: orEmpty(LABEL), name: orEmpty(SUBDOMAIN) }),
  health: health.unwrap().extend({ port: z.int().min(1024).max(65535) }),
  priorityClasses: priorityClasses
    .unwrap()
    .extend({ Low: orEmpty(SUBDOMAIN), Normal: orEmpty(SUBDOMAIN), High: orEmpty(SUBDOMAIN) }),
});

const {
  elsi: elsiServer,
  models,
  leaderElection: _lease,
  health: _health,
  ...sameForElsi
} = elsiConfigSchema.shape;

/** Empty while it is switched off; elsi-sync itself refuses what is missing. */
const elsiConfig = z.strictObject({
  ...sameForElsi,
  elsi: elsiServer.omit({ credentialsDirectory: true, caFile: true }).extend({ baseUrl: z.string() }),
  namespace: orEmpty(LABEL),
  models: z.record(z.string(), z.string()).describe(models.description ?? ''),
});

const values = z.strictObject({
  global: anything.optional(),
  image: z.strictObject({
    repository: z.string().min(1),
    tag: z.string().max(128),
    digest: z.string().regex(/^$|^sha256:[0-9a-f]{64}$/),
    pullPolicy,
  }),
  imagePullSecrets: z.array(z.strictObject({ name: z.string().min(1) })),
  nameOverride: orEmpty(LABEL),
  fullnameOverride: orEmpty(LABEL),
  replicas: z.int().min(0).max(5),
  config,
  storeAgent: z.strictObject({
    enabled: z.boolean(),
    namespaces,
    tokenSecret: z.strictObject({
      name: z.string().min(1).max(253).regex(SUBDOMAIN),
      key: z
        .string()
        .max(253)
        .regex(/^[-._a-zA-Z0-9]+$/),
    }),
    replicas: z.int().min(0).max(5),
    concurrency: z.int().min(1).max(64),
    answerSeconds: z.int().min(1).max(600),
    selfTest: z.strictObject({
      enabled: z.boolean(),
      directory: z
        .string()
        .max(512)
        .regex(/^$|^[^/.-][^/]*(\/[^/.-][^/]*)*$/),
    }),
    resources: limits,
    nodeSelector: strings,
    tolerations: z.array(anything),
  }),
  crds: z.strictObject({ install: z.boolean() }),
  priorityClasses: z.strictObject({
    create: z.boolean(),
    preemptionPolicy: z.enum(['Never', 'PreemptLowerPriority']),
    values: z.strictObject({ Low: priority, Normal: priority, High: priority }),
  }),
  serviceAccount: z.strictObject({ create: z.boolean(), name: orEmpty(SUBDOMAIN), annotations: strings }),
  rbac: z.strictObject({
    create: z.boolean(),
    aggregate: z.boolean(),
    readNodes: z.boolean(),
    catalogueReaders: z.array(z.string().min(1)),
  }),
  resources: limits,
  podDisruptionBudget: z.strictObject({ enabled: z.boolean() }),
  service: z.strictObject({ annotations: strings }),
  serviceMonitor: z.strictObject({
    enabled: z.boolean(),
    interval: z.string().regex(/^[0-9]+(ms|s|m)$/),
    labels: strings,
  }),
  networkPolicy: z.strictObject({
    enabled: z.boolean(),
    metricsFrom: z.array(anything),
    taskNamespaces: namespaces,
  }),
  podAnnotations: strings,
  podLabels: strings,
  nodeSelector: strings,
  tolerations: z.array(anything),
  affinity: anything,
  terminationGracePeriodSeconds: z.int().min(10).max(600),
  extraEnv: z.array(z.looseObject({ name: z.string() })),
  callbackSecrets: z.array(z.string().max(253).regex(SUBDOMAIN)),
  elsi: z.strictObject({
    enabled: z.boolean(),
    replicas: z.int().min(0).max(5),
    credentialsSecret: orEmpty(SUBDOMAIN),
    caConfigMap: orEmpty(SUBDOMAIN),
    config: elsiConfig,
    resources: z.strictObject({ requests: anything.optional(), limits: anything.optional() }),
  }),
});

/** `values.schema.json` of the chart; the configuration in it is the operator's own schema. */
export function valuesSchemaFiles(): Generated {
  const schema = z.toJSONSchema(values, { io: 'input', target: 'draft-7', reused: 'inline' });
  return { 'charts/analysis-operator/values.schema.json': `${JSON.stringify(schema, null, 2)}\n` };
}
