import { z } from 'zod';
import { API_VERSION, GROUP, VERSION } from '../../src/api/keys.ts';
import { modelRootRules, modelSpec, modelStatus } from '../../src/api/model.ts';
import type { rules } from '../../src/api/schema.ts';
import { taskRootRules, taskSpec, taskStatus } from '../../src/api/task.ts';
import { type SchemaNode, structural } from './structural.ts';

type Column = {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly description: string;
  readonly jsonPath: string;
  readonly priority?: number;
};

type KindSource = {
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  readonly rootRules: ReturnType<typeof rules>;
  readonly columns: readonly Column[];
  readonly selectable: readonly string[];
};

const age: Column = {
  name: 'Age',
  type: 'date',
  description: 'Time since the object was created.',
  jsonPath: '.metadata.creationTimestamp',
};

/** What a waiting researcher asks comes first: where is it, why, how far. */
const taskColumns: readonly Column[] = [
  { name: 'Phase', type: 'string', description: 'Where the task is.', jsonPath: '.status.phase' },
  { name: 'Reason', type: 'string', description: 'Why, in one word.', jsonPath: '.status.reason' },
  {
    name: 'Progress',
    type: 'string',
    description: 'Units done of all units.',
    jsonPath: '.status.progress.summary',
  },
  {
    // A column of type date shows the time since then, and nothing of use for a time to come.
    name: 'ETA',
    type: 'string',
    description: 'When the attempt should be done.',
    jsonPath: '.status.progress.estimatedCompletion',
  },
  { name: 'Model', type: 'string', description: 'Model of the catalogue.', jsonPath: '.spec.model' },
  { name: 'Dataset', type: 'string', description: 'Dataset in the store.', jsonPath: '.spec.dataset.path' },
  {
    name: 'Message',
    type: 'string',
    description: 'What to do about it.',
    jsonPath: '.status.message',
    priority: 1,
  },
  {
    name: 'Attempt',
    type: 'integer',
    description: 'Number of the attempt.',
    jsonPath: '.status.attempt.number',
    priority: 1,
  },
  {
    name: 'ETA-P90',
    type: 'string',
    description: 'When nine of ten such attempts would be done.',
    jsonPath: '.status.progress.estimatedCompletionP90',
    priority: 1,
  },
  age,
];

const ready = (field: string): string => `.status.conditions[?(@.type=="Ready")].${field}`;

const modelColumns: readonly Column[] = [
  { name: 'Ready', type: 'string', description: 'Whether tasks may use it.', jsonPath: ready('status') },
  { name: 'Reason', type: 'string', description: 'Why not, in one word.', jsonPath: ready('reason') },
  { name: 'Version', type: 'string', description: "The model's own version.", jsonPath: '.spec.version' },
  { name: 'Per', type: 'string', description: 'What one run works on.', jsonPath: '.spec.run.per' },
  { name: 'GPU', type: 'integer', description: 'GPUs per pod.', jsonPath: '.spec.gpu.count' },
  {
    name: 'Rate',
    type: 'string',
    description: 'How fast it was, learnt from finished tasks; on the hardware that it ran on last.',
    jsonPath: '.status.rates[0].summary',
  },
  {
    name: 'On',
    type: 'string',
    description: 'The hardware of that rate.',
    jsonPath: '.status.rates[0].gpu',
    priority: 1,
  },
  { name: 'Image', type: 'string', description: 'Container image.', jsonPath: '.spec.image', priority: 1 },
  age,
];

/** Both kinds, in the order in which an administrator meets them. */
export const KINDS: readonly KindSource[] = [
  {
    kind: 'AnalysisModel',
    plural: 'analysismodels',
    shortNames: ['amodel', 'am'],
    scope: 'Cluster',
    description:
      'A model that researchers may run: its image, how it is started, what it reads and what it promises to write. Adding a model to the cluster is creating one of these.',
    spec: modelSpec,
    status: modelStatus,
    rootRules: modelRootRules,
    columns: modelColumns,
    selectable: [],
  },
  {
    kind: 'AnalysisTask',
    plural: 'analysistasks',
    shortNames: ['atask', 'at'],
    scope: 'Namespaced',
    description:
      'A request to run one model of the catalogue over one dataset of the store. Its status says how far it is, how it ended and what to do about it.',
    spec: taskSpec,
    status: taskStatus,
    rootRules: taskRootRules,
    columns: taskColumns,
    selectable: ['.spec.model', '.spec.dataset.path', '.status.phase', '.status.settled'],
  },
];

/** The CustomResourceDefinition of one kind, as an object. */
export function crd(source: KindSource): object {
  const { kind, plural, shortNames, scope } = source;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames,
        categories: ['analysis'],
      },
      scope,
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          additionalPrinterColumns: source.columns,
          ...(source.selectable.length > 0 && {
            selectableFields: source.selectable.map((jsonPath) => ({ jsonPath })),
          }),
          subresources: { status: {} },
          schema: { openAPIV3Schema: rootSchema(source) },
        },
      ],
    },
  };
}

/** The structural schema of one kind, from the root of the object. */
export function rootSchema(source: KindSource): object {
  return {
    description: source.description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { description: `Always ${API_VERSION}.`, type: 'string' },
      kind: { description: `Always ${source.kind}.`, type: 'string' },
      metadata: { type: 'object' },
      ...sections(source),
    },
    ...source.rootRules,
  };
}

/** The messages of the rules at the root of the object. */
export function rootRules(source: KindSource): readonly string[] {
  return source.rootRules['x-kubernetes-validations'].map(({ message }) => message);
}

/** The schemas of spec and status. */
export function sections(source: KindSource): { readonly spec: SchemaNode; readonly status: SchemaNode } {
  return { spec: section(source.spec, 'spec'), status: section(source.status, 'status') };
}

function section(schema: z.ZodType, path: string): SchemaNode {
  const printed = z.toJSONSchema(schema, {
    io: 'input',
    target: 'openapi-3.0',
    reused: 'inline',
    cycles: 'throw',
    unrepresentable: 'throw',
  });
  return structural(printed, path);
}
