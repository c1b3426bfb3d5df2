import { RE2JS } from 're2js';

/** A node of a structural schema, as far as these CRDs use the language. */
export type SchemaNode = {
  readonly description?: string;
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode;
  readonly items?: SchemaNode;
  readonly 'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly Rule[];
};
type Rule = { readonly rule: string; readonly message: string; readonly fieldPath?: string };

type Json = Readonly<Record<string, unknown>>;
type Problems = string[];

/** Keywords that pass through, in the order in which they are printed. */
const KEPT = [
  'description',
  'type',
  'format',
  'default',
  'enum',
  'minLength',
  'maxLength',
  'pattern',
  'minimum',
  'maximum',
  'minItems',
  'maxItems',
  'maxProperties',
  'required',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
] as const;
/** Keywords that hold further schemas. */
const NESTED = ['properties', 'additionalProperties', 'items'];
/** What zod says about documents and about key names, which the API server has no word for. */
const DROPPED = ['$schema', 'propertyNames'];
/** The formats that the server checks by itself, so zod's own pattern is not repeated. */
const SERVER_FORMATS = ['date-time'];

/**
 * Turns what `z.toJSONSchema` prints into a structural schema. All problems are thrown at once, each with the path of
 * the field: a construct that the server has no word for, a pattern that RE2 refuses, a field without a description.
 */
export function structural(raw: unknown, path: string): SchemaNode {
  const problems: Problems = [];
  const node = convert(raw, path, problems);
  if (problems.length > 0) throw new Error(`not a structural schema:\n  ${problems.join('\n  ')}`);
  return node;
}

function convert(raw: unknown, path: string, problems: Problems): SchemaNode {
  const source = asObject(raw, path);
  refuseUnknown(source, path, problems);
  const node: Record<string, unknown> = {};
  for (const keyword of KEPT) if (source[keyword] !== undefined) node[keyword] = source[keyword];
  tidyInteger(node);
  if (SERVER_FORMATS.includes(String(node['format']))) delete node['pattern'];
  Object.assign(node, nested(source, path, problems));
  checkBounds(node, path, problems);
  if (isTyped(node)) return node;
  problems.push(`${path}: a structural schema needs a type`);
  return { type: 'object' };
}

function nested(source: Json, path: string, problems: Problems): Json {
  const { properties, additionalProperties, items } = source;
  if (properties !== undefined && isRecord(additionalProperties))
    problems.push(`${path}: either named properties or a map, not both`);
  return {
    ...(properties !== undefined && { properties: convertAll(properties, path, problems) }),
    ...(properties === undefined &&
      isRecord(additionalProperties) && {
        additionalProperties: convert(additionalProperties, `${path}{}`, problems),
      }),
    ...(items !== undefined && { items: convert(items, `${path}[]`, problems) }),
  };
}

function convertAll(properties: unknown, path: string, problems: Problems): Json {
  const entries = Object.entries(asObject(properties, path));
  for (const [name, child] of entries)
    if (asObject(child, path)['description'] === undefined)
      problems.push(`${path}.${name}: no description; add .describe() for kubectl explain`);
  return Object.fromEntries(
    entries.map(([name, child]) => [name, convert(child, `${path}.${name}`, problems)]),
  );
}

function refuseUnknown(source: Json, path: string, problems: Problems): void {
  const known: readonly string[] = [...KEPT, ...NESTED, ...DROPPED];
  for (const keyword of Object.keys(source))
    if (!known.includes(keyword))
      problems.push(`${path}: ${keyword} has no structural form; say it with a plain type and a CEL rule`);
}

/** zod bounds every integer by what a double can hold; the server's int64 needs no such bound. */
function tidyInteger(node: Record<string, unknown>): void {
  if (node['type'] !== 'integer') return;
  if (node['minimum'] === Number.MIN_SAFE_INTEGER) delete node['minimum'];
  if (node['maximum'] === Number.MAX_SAFE_INTEGER) delete node['maximum'];
  node['format'] = 'int64';
}

const TYPES = ['object', 'array', 'string', 'integer', 'number', 'boolean'];
const isTyped = (node: Json): node is Json & SchemaNode => TYPES.includes(String(node['type']));

// Unbounded text and lists are refused as well: they are what a CEL rule's cost is estimated from.
function checkBounds(node: Json, path: string, problems: Problems): void {
  const bounded = node['maxLength'] ?? node['enum'] ?? node['format'];
  if (node['type'] === 'string' && bounded === undefined) problems.push(`${path}: no maxLength`);
  if (node['type'] === 'array' && node['maxItems'] === undefined) problems.push(`${path}: no maxItems`);
  if (node['additionalProperties'] !== undefined && node['maxProperties'] === undefined)
    problems.push(`${path}: no maxProperties`);
  const { pattern } = node;
  if (typeof pattern === 'string' && !compiles(pattern))
    problems.push(
      `${path}: RE2 does not compile ${pattern}; it has no look-around and writes \\p{Cc}, not \\u0000`,
    );
}

function compiles(pattern: string): boolean {
  // Go's RE2 knows no \u escape; the JavaScript port is more lenient there.
  if (/\\u/.test(pattern)) return false;
  try {
    RE2JS.compile(pattern);
    return true;
  } catch {
    return false;
  }
}

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function asObject(value: unknown, path: string): Json {
  if (isRecord(value)) return value;
  throw new Error(`${path}: expected a schema, got ${JSON.stringify(value)}`);
}
