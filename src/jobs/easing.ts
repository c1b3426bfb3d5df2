import type { ModelParameter } from '../api/model.ts';

type Values = Readonly<Record<string, string>>;

/**
 * Parameter values for an attempt after `times` attempts that ran out of memory: a value whose parameter has an
 * outOfMemoryFactor is multiplied with it once per such attempt, the others stay as they are.
 */
export function easedParameters(values: Values, declared: readonly ModelParameter[], times: number): Values {
  if (times === 0) return values;
  const eased = declared.flatMap((parameter) => {
    const { name, outOfMemoryFactor: factor } = parameter;
    const value = values[name];
    return factor === undefined || value === undefined
      ? []
      : [[name, smaller(parameter, value, factor ** times)] as const];
  });
  return { ...values, ...Object.fromEntries(eased) };
}

/** Never below the parameter's own minimum: a value that the model refuses would only hide the real failure. */
function smaller({ type, minimum }: ModelParameter, value: string, factor: number): string {
  const wanted = Number(value) * factor;
  if (type === 'Integer') return String(Math.min(Number(value), Math.max(minimum ?? 1, Math.floor(wanted))));
  return String(Math.max(minimum ?? wanted, wanted));
}
