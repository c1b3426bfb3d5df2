import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KINDS, rootRules, sections } from './crd.ts';
import { type Generated, ROOT } from './files.ts';
import type { SchemaNode } from './structural.ts';

const END = '<!-- generated:end -->';

type KindSource = (typeof KINDS)[number];

/** Path of the page of each kind -> the page with its reference written anew; the text around it stays. */
export async function referenceFiles(): Promise<Generated> {
  const pages = KINDS.map(async (source) => {
    const path = `docs/kinds/${source.kind.toLowerCase()}.md`;
    const page = await readFile(join(ROOT, path), 'utf8');
    return [path, withGenerated(reference(source), { page, path, source: 'src/api' })] as const;
  });
  return Object.fromEntries(await Promise.all(pages));
}

/** A page with a part that is generated. */
interface Page {
  readonly page: string;
  readonly path: string;
  /** What the part is made from, as its marker says. */
  readonly source: string;
}

/** Puts `text` between the markers of a page. */
export function withGenerated(text: string, { page, path, source }: Page): string {
  const begin = `<!-- generated:begin: hack/gen-docs.ts writes what follows, from ${source} -->`;
  const from = page.indexOf(begin);
  const to = page.indexOf(END);
  if (from < 0 || to < from) throw new Error(`${path} must contain the lines "${begin}" and "${END}"`);
  return `${page.slice(0, from)}${begin}\n\n${text}\n${page.slice(to)}`;
}

function reference(source: KindSource): string {
  const { spec, status } = sections(source);
  const rules = [...rootRules(source).map((rule) => `- ${rule}`), ...rulesOf(spec, 'spec')];
  return [
    '## Fields of spec',
    '',
    ...table(spec, 'spec'),
    '',
    '## Rules',
    '',
    'The API server refuses what breaks one of these, with this text:',
    '',
    ...new Set(rules),
    '',
    '## Fields of status',
    '',
    ...table(status, 'status'),
    '',
  ].join('\n');
}

function table(node: SchemaNode, path: string): readonly string[] {
  return ['| Field | Type | Default | Bounds | Meaning |', '|---|---|---|---|---|', ...lines(node, path)];
}

function lines(node: SchemaNode, path: string): readonly string[] {
  const required = new Set(node.required);
  return Object.entries(node.properties ?? {}).flatMap(([name, child]) => {
    const field = `${path}.${name}`;
    const list = child.type === 'array' ? `${field}[]` : field;
    const shown = [
      `\`${field}\`${required.has(name) ? ' (required)' : ''}`,
      typeOf(child),
      defaultOf(child),
      bounds(child),
      escape(child.description ?? ''),
    ];
    return [`| ${shown.join(' | ')} |`, ...lines(child.items ?? child, list)];
  });
}

function typeOf(node: SchemaNode): string {
  if (node.type === 'array') return `list of ${node.items === undefined ? 'values' : typeOf(node.items)}`;
  if (node.additionalProperties !== undefined) return `map to ${typeOf(node.additionalProperties)}`;
  return node.format === 'date-time' ? 'time' : node.type;
}

/** `{}` only says that the defaults below it apply. */
function defaultOf({ default: value }: SchemaNode): string {
  const text = value === undefined ? '' : JSON.stringify(value);
  return text === '' || text === '{}' ? '' : `\`${escape(text)}\``;
}

function bounds(node: SchemaNode): string {
  const inner = node.items ?? node.additionalProperties;
  const own = [
    node.enum?.map((value) => `\`${value}\``).join(', '),
    interval(node),
    node.maxItems === undefined ? undefined : `${range(node.minItems, node.maxItems)} items`,
    node.maxProperties === undefined ? undefined : `at most ${node.maxProperties} keys`,
    node.maxLength === undefined ? undefined : `${range(node.minLength, node.maxLength)} characters`,
    node.pattern === undefined ? undefined : `\`${escape(node.pattern)}\``,
    inner === undefined || inner.type === 'object' ? undefined : bounds(inner),
  ];
  return own.filter((part) => part !== undefined && part !== '').join('; ');
}

function interval({ minimum, maximum }: SchemaNode): string | undefined {
  return minimum === undefined || maximum === undefined
    ? range(minimum, maximum)
    : `${minimum} to ${maximum}`;
}

/** Sizes: none is negative, so a lower bound of 0 goes without saying. */
function range(low: number | undefined, high: number | undefined): string | undefined {
  if (low === undefined || low === 0) return high === undefined ? undefined : `at most ${high}`;
  return high === undefined ? `at least ${low}` : `${low} to ${high}`;
}

function rulesOf(node: SchemaNode, path: string): readonly string[] {
  const own = (node['x-kubernetes-validations'] ?? []).map(({ message }) => `- \`${path}\`: ${message}`);
  const children = Object.entries(node.properties ?? {}).flatMap(([name, child]) =>
    rulesOf(child, `${path}.${name}`),
  );
  return [...own, ...children, ...(node.items === undefined ? [] : rulesOf(node.items, `${path}[]`))];
}

/** A bar would end the table's cell, an angle bracket would begin HTML. */
const escape = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
