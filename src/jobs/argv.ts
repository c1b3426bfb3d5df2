import type { ModelSpec } from '../api/model.ts';

/**
 * A value that starts with a dash could be read as an option. It may stand only inside `--key=value`,
 * never as an argument of its own. Returns the problems, one sentence each.
 */
export function dashProblems(
  command: readonly string[],
  values: Readonly<Record<string, string>>,
  declared: NonNullable<ModelSpec['parameters']>,
): string[] {
  const numeric = new Set(
    declared.filter((p) => p.type === 'Integer' || p.type === 'Number').map((p) => p.name),
  );
  return Object.entries(values)
    .filter(([name, value]) => value.startsWith('-') && !numeric.has(name))
    .filter(([name]) => command.some((argument) => argument.startsWith(`{param.${name}}`)))
    .map(
      ([name, value]) =>
        `parameters.${name} is ${JSON.stringify(value)} but may not start with "-", which the model would read as an option`,
    );
}
