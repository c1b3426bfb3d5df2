/**
 * Templates of an AnalysisModel: argument vectors and output paths with `{name}` placeholders.
 *
 * A value is only ever a part of one argument: no shell sees it. `${NAME}` is left alone, as is the script that
 * follows `-c`, where a placeholder would turn a file name into code.
 */
import { MOUNT } from './request.ts';

/** Values by placeholder name, such as `input` or `param.threshold`. */
export type TemplateValues = Readonly<Record<string, string>>;

/** A template that cannot be filled; the message names the template, the value and the fix. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

const PLACEHOLDER = /(\$?)\{([A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9_]*)?)\}/g;
const SCRIPT_OPTION = /^-[A-Za-z]*c$/;

/**
 * Fills the placeholders of one text. An empty `{reldir}` takes the slash after it along.
 * Throws TemplateError for a placeholder without a value.
 */
export function expandText(template: string, values: TemplateValues): string {
  if (!template.includes('{')) return template;
  const text = values['reldir'] === '' ? template.replaceAll('{reldir}/', '') : template;
  return text.replace(PLACEHOLDER, (whole, dollar: string, name: string) => {
    if (dollar !== '') return whole;
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value !== undefined) return value;
    const known = Object.keys(values).map((key) => `{${key}}`);
    throw new TemplateError(
      `${JSON.stringify(template)} uses ${whole}, which has no value here: use one of ${known.join(' ')}`,
    );
  });
}

function usesPlaceholder(text: string, values: TemplateValues): boolean {
  return [...text.matchAll(PLACEHOLDER)].some(
    ([, dollar, name]) => dollar === '' && Object.hasOwn(values, name ?? ''),
  );
}

/**
 * Fills an argument vector. Throws TemplateError when a value would be read as an option (it starts with `-`, stands
 * at the start of its argument and is no number), holds a NUL, or stands inside a script after `-c`.
 */
export function expandCommand(command: readonly string[], values: TemplateValues): string[] {
  return command.map((element, index) => {
    const isScript = index > 0 && SCRIPT_OPTION.test(command[index - 1] ?? '');
    return isScript ? literalScript(element, values) : expandArgument(element, values);
  });
}

function literalScript(script: string, values: TemplateValues): string {
  if (!usesPlaceholder(script, values)) return script;
  throw new TemplateError(
    `the script ${JSON.stringify(script)} contains a placeholder, so a file name could be executed: pass it as an argument and write "$1"`,
  );
}

function expandArgument(element: string, values: TemplateValues): string {
  const argument = expandText(element, values);
  if (argument.startsWith('-') && !element.startsWith('-') && !isNegativeParameter(element, argument)) {
    throw new TemplateError(
      `the argument ${JSON.stringify(element)} becomes ${JSON.stringify(argument)}, which a program reads as an option: rename the file or write the model's argument as "--key=${element}"`,
    );
  }
  if (argument.includes('\0')) {
    throw new TemplateError(
      `the argument ${JSON.stringify(element)} would contain a NUL byte: remove it from the value`,
    );
  }
  return argument;
}

/** A negative number is a value that programs expect; only a parameter can be one, a file name cannot. */
function isNegativeParameter(element: string, argument: string): boolean {
  return /^\{param\.[A-Za-z0-9_]+\}$/.test(element) && /^-(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(argument);
}

/** The `{param.NAME}` values of resolved parameters. */
export function parameterValues(parameters: Readonly<Record<string, string>>): TemplateValues {
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`param.${name}`, value]));
}

/** What the command of a `per: Dataset` model may refer to. */
export interface DatasetCommand {
  /** inputs.root of the model. */
  readonly root: string;
  /** dataset.directory of the task. */
  readonly directory?: string | undefined;
  /** Resolved: defaults filled in. */
  readonly parameters: Readonly<Record<string, string>>;
}

/**
 * Argument vector of a `per: Dataset` model: `{inputDir}` is the inputs' root (or the directory asked for) below
 * /data, `{outputDir}` is /out. Not yet escaped for kubelet. Throws TemplateError.
 */
export function expandDataset(command: readonly string[], dataset: DatasetCommand): string[] {
  const below = dataset.directory === undefined ? '' : `/${dataset.directory}`;
  return expandCommand(command, {
    inputDir: `${MOUNT.data}/${dataset.root}${below}`,
    outputDir: MOUNT.out,
    ...parameterValues(dataset.parameters),
  });
}
