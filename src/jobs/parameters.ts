import type { ModelParameter } from '../api/model.ts';

export type Resolved =
  | { readonly ok: true; readonly values: Readonly<Record<string, string>> }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Fills in defaults and checks each value; reports every problem at once, each with the field, the value and the fix. */
export function resolveParameters(
  declared: readonly ModelParameter[],
  given: Readonly<Record<string, string>>,
): Resolved {
  const known = new Set(declared.map((p) => p.name));
  const problems = Object.keys(given)
    .filter((name) => !known.has(name))
    .map((name) => unknownParameter(name, [...known]));
  const values: Record<string, string> = {};
  for (const parameter of declared) {
    const value = Object.hasOwn(given, parameter.name) ? given[parameter.name] : parameter.default;
    const problem = value === undefined ? missing(parameter) : check(parameter, value);
    if (problem) problems.push(problem);
    else if (value !== undefined) values[parameter.name] = value;
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, values };
}

function unknownParameter(name: string, known: string[]): string {
  const choice = known.length > 0 ? `it knows ${known.toSorted().join(', ')}` : 'it has no parameters';
  return `parameters.${name} is not a parameter of this model: ${choice}`;
}

function missing(parameter: ModelParameter): string {
  return `parameters.${parameter.name} (${parameter.type}) is required: set it in spec.parameters`;
}

function check(parameter: ModelParameter, value: string): string | undefined {
  const at = `parameters.${parameter.name} is ${JSON.stringify(value)}`;
  if (parameter.enum && !parameter.enum.includes(value))
    return `${at} but must be one of ${parameter.enum.join(', ')}`;
  switch (parameter.type) {
    case 'String':
      return checkString(parameter, value, at);
    case 'Boolean':
      return value === 'true' || value === 'false' ? undefined : `${at} but must be "true" or "false"`;
    case 'Integer':
      return /^-?\d{1,15}$/.test(value)
        ? inRange(parameter, Number(value), at)
        : `${at} but must be an integer`;
    case 'Number':
      return /^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$/.test(value)
        ? inRange(parameter, Number(value), at)
        : `${at} but must be a number`;
  }
}

function checkString(parameter: ModelParameter, value: string, at: string): string | undefined {
  if (value.length > parameter.maxLength)
    return `${at} but may have at most ${parameter.maxLength} characters`;
  return /\p{Cc}/u.test(value) ? `${at} but may not contain control characters` : undefined;
}

function inRange(parameter: ModelParameter, value: number, at: string): string | undefined {
  if (parameter.minimum !== undefined && value < parameter.minimum)
    return `${at} but must be at least ${parameter.minimum}`;
  if (parameter.maximum !== undefined && value > parameter.maximum)
    return `${at} but must be at most ${parameter.maximum}`;
  return undefined;
}
