import type { SchemaNode } from '../../hack/gen/structural.ts';
import { isRecord, type Step } from './mutate.ts';

/**
 * One change to a sample that breaks (or just keeps) exactly one bound of the schema. `field` is how the API server
 * names the place, `message` what it must say.
 */
export type BoundRow = {
  readonly field: string;
  readonly bound: string;
  readonly path: readonly Step[];
  readonly value: unknown;
  /** Undefined for a change that must be accepted: a value on the bound. */
  readonly message?: RegExp;
};

type Place = {
  readonly node: SchemaNode;
  readonly value: unknown;
  readonly path: readonly Step[];
  readonly field: string;
};
type Keyword = 'type' | 'required' | keyof SchemaNode;

/** What the API server says about each kind of bound. */
const MESSAGES: Readonly<Partial<Record<Keyword, RegExp>>> = {
  type: /must be of type/,
  required: /Required value/,
  enum: /Unsupported value/,
  format: /must be of type datetime|must be a valid|in body must be/,
  minLength: /should be at least \d+ chars long/,
  maxLength: /may not be more than \d+ bytes|should be at most/,
  pattern: /should match/,
  minimum: /greater than or equal to/,
  maximum: /less than or equal to/,
  minItems: /should have at least \d+ items/,
  maxItems: /must have at most \d+ items/,
  maxProperties: /must have at most \d+ (items|properties)|should have at most/,
  'x-kubernetes-list-type': /Duplicate value/,
};

/** Every bound of the schema as rows. Throws when the sample lacks a field or no bad value is known for a bound. */
export function boundRows(node: SchemaNode, value: unknown, root: string): readonly BoundRow[] {
  return visit({ node, value, path: [root], field: root });
}

/** Values of fields that exclude others of the sample; their rows break the schema, and so never come to the rules. */
const ALTERNATIVES: Readonly<Record<string, unknown>> = { 'spec.run.worker': 'Redis' };

function visit(given: Place): readonly BoundRow[] {
  const place = { ...given, value: given.value ?? ALTERNATIVES[given.field] };
  if (place.value === undefined)
    throw new Error(`the sample lacks ${place.field}, so its bounds are not tested`);
  return [
    ...typeRow(place),
    ...stringRows(place),
    ...numberRows(place),
    ...listRows(place),
    ...objectRows(place),
  ];
}

function row({ path, field }: Place, keyword: Keyword, value: unknown): BoundRow {
  const message = MESSAGES[keyword];
  if (message === undefined) throw new Error(`no message is known for ${keyword}`);
  return { field, bound: keyword, path, value, message };
}

const kept = ({ path, field }: Place, bound: string, value: unknown): BoundRow => ({
  field,
  bound,
  path,
  value,
});

const typeRow = (place: Place): readonly BoundRow[] => [
  row(place, 'type', place.node.type === 'string' ? 7 : 'seven'),
];

function stringRows(place: Place): readonly BoundRow[] {
  const { node, value } = place;
  if (node.type !== 'string' || typeof value !== 'string') return [];
  const { maxLength, minLength = 0 } = node;
  return [
    ...(node.enum === undefined ? [] : [row(place, 'enum', 'Nonsense')]),
    ...(node.format === undefined ? [] : [row(place, 'format', 'yesterday')]),
    ...(minLength === 0 ? [] : [row(place, 'minLength', '')]),
    ...(maxLength === undefined ? [] : [row(place, 'maxLength', stretched(value, maxLength + 1))]),
    ...(maxLength === undefined ? [] : onBound(place, stretched(value, maxLength))),
    ...(node.pattern === undefined
      ? []
      : [row(place, 'pattern', misfit(node.pattern, minLength, place.field))]),
  ];
}

/** Longer by letters at the end, which every pattern here allows but those that end with a unit or a digest. */
const stretched = (value: string, length: number): string => value.slice(0, length).padEnd(length, 'a');

const onBound = (place: Place, value: string): readonly BoundRow[] =>
  place.node.pattern === undefined || matches(place.node.pattern, value)
    ? [kept(place, 'maxLength', value)]
    : [];

const matches = (pattern: string, value: string): boolean => new RegExp(pattern, 'u').test(value);

const MISFITS = ['-', '/', ' ', '..', 'a b', '/a/', 'a//b', '0x', '\n'];

function misfit(pattern: string, minLength: number, field: string): string {
  const found = MISFITS.find((candidate) => candidate.length >= minLength && !matches(pattern, candidate));
  if (found === undefined) throw new Error(`no value is known that breaks the pattern of ${field}`);
  return found;
}

function numberRows(place: Place): readonly BoundRow[] {
  const { type, minimum, maximum } = place.node;
  if (type !== 'integer' && type !== 'number') return [];
  return [
    ...(type === 'integer' ? [row(place, 'type', 1.5)] : []),
    ...(minimum === undefined ? [] : [row(place, 'minimum', minimum - 1), kept(place, 'minimum', minimum)]),
    ...(maximum === undefined ? [] : [row(place, 'maximum', maximum + 1), kept(place, 'maximum', maximum)]),
  ];
}

function listRows(place: Place): readonly BoundRow[] {
  const { node, value, path, field } = place;
  if (node.type !== 'array' || !Array.isArray(value) || node.items === undefined) return [];
  const [first]: readonly unknown[] = value;
  const { maxItems = 0, minItems = 0, items } = node;
  const unique = ['set', 'map'].includes(node['x-kubernetes-list-type'] ?? '');
  const many = (count: number): readonly unknown[] =>
    Array.from({ length: count }, (_, i) => varied(place, first, i));
  return [
    ...(minItems === 0 ? [] : [row(place, 'minItems', [])]),
    row(place, 'maxItems', many(maxItems + 1)),
    kept(place, 'maxItems', many(maxItems)),
    ...(unique ? [{ ...row(place, 'x-kubernetes-list-type', [first, first]), field: `${field}[1]` }] : []),
    ...visit({ node: items, value: first, path: [...path, 0], field: `${field}[0]` }),
  ];
}

/** The i-th of many distinct list elements: lists that are sets or maps refuse equal ones. */
function varied({ node }: Place, item: unknown, i: number): unknown {
  const keys = node['x-kubernetes-list-map-keys'];
  if (keys === undefined || !isRecord(item)) return typeof item === 'string' ? numbered(item, i) : item;
  return { ...item, ...Object.fromEntries(keys.map((key) => [key, numbered(item[key], i)])) };
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
const numbered = (value: unknown, i: number): unknown =>
  typeof value === 'number'
    ? i + 1
    : `${String(value)}${LETTERS[Math.floor(i / 26)] ?? ''}${LETTERS[i % 26] ?? ''}`;

function objectRows(place: Place): readonly BoundRow[] {
  const { node, value, path, field } = place;
  if (node.type !== 'object' || !isRecord(value)) return [];
  const missing = (node.required ?? []).map((key) => ({
    ...row(place, 'required', undefined),
    path: [...path, key],
    field: `${field}.${key}`,
  }));
  const fields = Object.entries(node.properties ?? {}).flatMap(([key, child]) =>
    visit({ node: child, value: value[key], path: [...path, key], field: `${field}.${key}` }),
  );
  return [...missing, ...fields, ...mapRows(place, value)];
}

function mapRows(place: Place, value: Record<Step, unknown>): readonly BoundRow[] {
  const { maxProperties, additionalProperties } = place.node;
  const [key] = Object.keys(value);
  if (maxProperties === undefined || additionalProperties === undefined || key === undefined) return [];
  const many = (count: number): unknown =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`key${i}`, value[key]]));
  const child = {
    node: additionalProperties,
    value: value[key],
    path: [...place.path, key],
    field: `${place.field}.${key}`,
  };
  return [
    row(place, 'maxProperties', many(maxProperties + 1)),
    kept(place, 'maxProperties', many(maxProperties)),
    ...visit(child),
  ];
}
