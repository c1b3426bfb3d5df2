import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';

/*
 * One YAML file per process, checked by zod with all problems at once; ANALYSIS_* variables override single keys.
 */

/** Everything that is wrong with the configuration, one problem per line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** One leaf of a configuration, for --help and for environment overrides. */
export interface SettingKey {
  readonly path: readonly string[];
  readonly env: string;
  readonly schema: z.ZodType;
}

export function settingKeys(schema: z.ZodType, path: readonly string[] = []): SettingKey[] {
  const inner = schema instanceof z.ZodPrefault ? schema.def.innerType : schema;
  if (inner instanceof z.ZodObject) {
    return Object.entries<z.ZodType>(inner.shape).flatMap(([key, value]) =>
      settingKeys(value, [...path, key]),
    );
  }
  return [{ path, env: envName(path), schema }];
}

/** store.claimName -> ANALYSIS_STORE_CLAIM_NAME */
function envName(path: readonly string[]): string {
  const words = path.map((part) => part.replaceAll(/([a-z])([A-Z])/g, '$1_$2').toUpperCase());
  return ['ANALYSIS', ...words].join('_');
}

/** Reads the file, lays the environment over it and checks the result. Throws ConfigError with all problems. */
export function loadSettings<S extends z.ZodType>(
  schema: S,
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): z.output<S> {
  const raw = file === undefined ? {} : readYaml(file);
  for (const { path, env: name } of settingKeys(schema)) {
    const value = env[name];
    if (value !== undefined) setAt(raw, path, parse(value));
  }
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `  ${issue.path.join('.') || '(file)'}: ${issue.message}`);
  throw new ConfigError(
    `The configuration${file ? ` in ${file}` : ''} has ${lines.length} problem(s):\n${lines.join('\n')}`,
  );
}

function readYaml(file: string): Record<string, unknown> {
  try {
    const content: unknown = parse(readFileSync(file, 'utf8')) ?? {};
    if (isRecord(content)) return content;
    throw new Error('it must be a mapping of keys to values');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`Cannot read the configuration file ${file}: ${why}`, { cause: error });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function setAt(target: Record<string, unknown>, [head, ...rest]: readonly string[], value: unknown): void {
  if (head === undefined) return;
  if (rest.length === 0) {
    target[head] = value;
    return;
  }
  const child = target[head];
  const next = isRecord(child) ? child : {};
  target[head] = next;
  setAt(next, rest, value);
}
