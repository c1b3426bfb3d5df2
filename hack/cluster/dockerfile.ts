import { matchesGlob } from 'node:path';

/** What a build takes from outside its Dockerfile. */
export type Inputs = {
  /** Images of the FROM lines that are no stage of the same file. */
  readonly bases: readonly string[];
  /** Sources of COPY and ADD in the build context; globs as written. */
  readonly sources: readonly string[];
};

/** Joins continued lines and drops comments and blank lines. */
export function instructions(dockerfile: string): readonly string[] {
  return dockerfile
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replace(/\\[ \t]*\n/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** Finds the base images and context files of a Dockerfile; ARGs are replaced as far as FROM sees them. */
export function dockerfileInputs(dockerfile: string, buildArgs: Readonly<Record<string, string>>): Inputs {
  const args: Record<string, string> = {};
  const stages = new Set<string>();
  const bases: string[] = [];
  const sources: string[] = [];
  for (const line of instructions(dockerfile)) {
    const [keyword = '', ...words] = line.split(/\s+/);
    if (/^ARG$/i.test(keyword)) Object.assign(args, argument(words[0] ?? '', buildArgs));
    if (/^FROM$/i.test(keyword)) {
      const [image = '', , stage] = words
        .filter((word) => !word.startsWith('--'))
        .map((word) => substitute(word, args));
      if (image !== 'scratch' && !stages.has(image)) bases.push(image);
      if (stage !== undefined) stages.add(stage);
    }
    if (/^(COPY|ADD)$/i.test(keyword)) sources.push(...copySources(line, args));
    if (/^COPY$/i.test(keyword)) bases.push(...copyBases(words, stages));
  }
  return { bases: [...new Set(bases)], sources: [...new Set(sources)] };
}

function argument(word: string, given: Readonly<Record<string, string>>): Record<string, string> {
  const [name = '', ...rest] = word.split('=');
  const value = given[name] ?? (rest.length > 0 ? rest.join('=').replace(/^(["'])(.*)\1$/, '$2') : undefined);
  return value === undefined ? {} : { [name]: value };
}

function substitute(text: string, args: Readonly<Record<string, string>>): string {
  return text.replace(
    /\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)/g,
    (_, braced?: string, fallback?: string, bare?: string) => {
      return args[braced ?? bare ?? ''] ?? fallback ?? '';
    },
  );
}

function copySources(line: string, args: Readonly<Record<string, string>>): readonly string[] {
  const rest = line.replace(/^\S+\s+/, '');
  if (/(^|\s)--from=/.test(rest)) return [];
  const operands = rest.replace(/^(--\S+\s+)*/, '');
  const words = operands.startsWith('[') ? parseList(operands) : operands.split(/\s+/);
  return words
    .slice(0, -1)
    .map((word) => substitute(word, args))
    .filter((word) => !/^\w+:\/\//.test(word));
}

function parseList(text: string): readonly string[] {
  const list: unknown = JSON.parse(text);
  return Array.isArray(list) ? list.filter((item) => typeof item === 'string') : [];
}

function copyBases(words: readonly string[], stages: ReadonlySet<string>): readonly string[] {
  const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length);
  return from === undefined || stages.has(from) || /^\d+$/.test(from) ? [] : [from];
}

/** Makes a predicate from a .dockerignore: the last pattern that matches a path or a folder above it decides. */
export function ignoring(dockerignore: string): (path: string) => boolean {
  const patterns = dockerignore
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => ({ keep: line.startsWith('!'), glob: line.replace(/^!/, '').replace(/^\/+|\/+$/g, '') }));
  return (path) => {
    const parts = path.split('/');
    const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    const last = patterns.findLast(({ glob }) => prefixes.some((prefix) => matchesGlob(prefix, glob)));
    return last !== undefined && !last.keep;
  };
}

/** The full name under which every tool finds an image: registry and tag added where they are left out. */
export function fullName(name: string): string {
  const tagged = /[:@][^/]*$/.test(name) ? name : `${name}:latest`;
  const [first = '', ...rest] = tagged.split('/');
  if (rest.length === 0) return `docker.io/library/${tagged}`;
  return /[.:]/.test(first) || first === 'localhost' ? tagged : `docker.io/${tagged}`;
}
