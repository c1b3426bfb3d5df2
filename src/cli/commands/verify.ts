import { Command, InvalidArgumentError, Option } from 'commander';
import type { Drift, Progress, Recheck } from '../../agent/recheck.ts';
import { formatSize } from '../../lib/size.ts';
import { wholeNumber } from '../whole-number.ts';

/** Exit codes; 2 is also a usage error. */
const CLEAN = 0;
const DRIFT = 1;
const NO_OUTPUTS = 2;

const PROGRESS_MS = 10_000;

interface Options {
  readonly json?: true;
  readonly concurrency: number;
  readonly manifestSha256?: string;
}

/** `analysis-operator verify <directory>`: are published outputs still what their manifest says? */
export function verifyCommand(done: (code: number) => void): Command {
  return new Command('verify')
    .description('Hash published outputs again and compare them with their manifest.json')
    .argument('<directory>', 'a published outputs directory: <store>/<dataset>/outputs/<name>')
    .option('--json', 'print one JSON document instead of text')
    .addOption(
      new Option('--concurrency <n>', 'files that are read at the same time')
        .default(4)
        .argParser(wholeNumber(1, 64)),
    )
    .addOption(
      new Option(
        '--manifest-sha256 <hex>',
        "what the manifest must hash to: the task's status.result",
      ).argParser(sha256),
    )
    .addHelpText(
      'after',
      [
        '',
        'Exit code: 0 nothing changed, 1 something is missing, changed, extra or unreadable, 2 no outputs directory.',
        'Files that the model wrote beyond its promises have no hash in the manifest; only their presence is checked.',
      ].join('\n'),
    )
    .action(async (directory: string, options: Options) => done(await verify(directory, options)));
}

function sha256(text: string): string {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return text;
  throw new InvalidArgumentError('must be 64 hexadecimal digits.');
}

async function verify(directory: string, options: Options): Promise<number> {
  const { NotOutputsError, recheckOutputs } = await import('../../agent/recheck.ts');
  const print = options.json ? jsonPrinter(directory) : textPrinter(directory);
  const progress = progressPrinter();
  try {
    const { concurrency, manifestSha256 } = options;
    const result = await recheckOutputs(directory, {
      concurrency,
      ...(manifestSha256 === undefined ? {} : { manifestSha256 }),
      onDrift: print.drift,
      onFile: progress,
    });
    print.end(result);
    return result.drift === 0 ? CLEAN : DRIFT;
  } catch (error) {
    if (!(error instanceof NotOutputsError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return NO_OUTPUTS;
  }
}

/** Says on stderr how far it is, now and then. */
function progressPrinter(): (progress: Progress) => void {
  let next = performance.now() + PROGRESS_MS;
  return ({ files, bytes, total }) => {
    if (performance.now() < next) return;
    next = performance.now() + PROGRESS_MS;
    process.stderr.write(`${files} of ${total} files checked (${formatSize(bytes)} read)\n`);
  };
}

interface Printer {
  readonly drift: (drift: Drift) => void;
  readonly end: (result: Recheck) => void;
}

function textPrinter(directory: string): Printer {
  return {
    drift: ({ kind, path, detail }) =>
      process.stdout.write(`${kind.padEnd(10)} ${JSON.stringify(path)} ${detail}\n`),
    end: ({ head, files, bytes, drift, manifestSha256 }) => {
      const { namespace, name } = head.task;
      const verdict = drift === 0 ? 'unchanged' : `${drift} ${drift === 1 ? 'difference' : 'differences'}`;
      process.stdout.write(
        `${directory}: ${verdict}; ${files} files checked (${formatSize(bytes)} read), published by task ${namespace}/${name}, manifest ${manifestSha256}\n`,
      );
    },
  };
}

/** One document, written as it grows: a list of a million differences takes no memory. */
function jsonPrinter(directory: string): Printer {
  let separator = `{\n  "directory": ${JSON.stringify(directory)},\n  "drift": [\n    `;
  return {
    drift: (drift) => {
      process.stdout.write(`${separator}${JSON.stringify(drift)}`);
      separator = ',\n    ';
    },
    end: ({ head, files, bytes, drift, manifestSha256 }) => {
      const facts = {
        clean: drift === 0,
        files,
        bytes,
        manifestSha256,
        identity: head.identity,
        task: head.task,
      };
      const rest = JSON.stringify(facts, undefined, 2).slice(1);
      const list = drift === 0 ? `${separator.trimEnd()}],` : '\n  ],';
      process.stdout.write(`${list}${rest}\n`);
    },
  };
}
