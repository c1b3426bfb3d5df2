import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { type ModelSpec, modelSpec } from '../../src/api/model.ts';
import { run } from '../cluster/exec.ts';
import { type Generated, ROOT } from './files.ts';
import { withGenerated } from './reference.ts';

const PAGE = 'docs/models.md';
/** Tests whose titles begin with the entries that they are about: "NAME says" or "NAME and NAME wait". */
const TESTS = [
  'test/e2e/childproject.test.ts',
  'test/e2e/labs-models.test.ts',
  'test/integration/catalogue.test.ts',
];

/** An entry of the catalogue. */
interface Entry {
  readonly name: string;
  readonly spec: ModelSpec;
}

/** docs/models.md with the table of what is tested of each model; which tests there are, mocha says. */
export async function modelCoverage(): Promise<Generated> {
  const [entries, titles, page] = await Promise.all([
    catalogue(),
    testTitles(),
    readFile(join(ROOT, PAGE), 'utf8'),
  ]);
  const rows = entries.map((entry) => row(entry, titles));
  const head = ['| entry | what runs in the tests | command | contract | tests |', '|---|---|---|---|---|'];
  const text = `${[...head, ...rows].join('\n')}\n`;
  return { [PAGE]: withGenerated(text, { page, path: PAGE, source: 'models/ and the tests' }) };
}

const object = z.object({ metadata: z.object({ name: z.string() }), spec: modelSpec });

async function catalogue(): Promise<readonly Entry[]> {
  const files = (await readdir(join(ROOT, 'models'))).toSorted();
  return Promise.all(
    files.map(async (file) => {
      const { metadata, spec } = object.parse(parse(await readFile(join(ROOT, 'models', file), 'utf8')));
      return { name: metadata.name, spec };
    }),
  );
}

const report = z.object({ tests: z.array(z.object({ title: z.string() })) });

/** Loads the tests without running them. */
async function testTitles(): Promise<readonly string[]> {
  const mocha = join(ROOT, 'node_modules/.bin/mocha');
  const json = await run(mocha, ['--no-config', '--dry-run', '--reporter', 'json', ...TESTS], { cwd: ROOT });
  return report.parse(JSON.parse(json)).tests.map(({ title }) => title);
}

function row({ name, spec }: Entry, titles: readonly string[]): string {
  const own = titles.flatMap((title) => {
    const [, names = '', says = ''] = /^(\S+(?: and \S+)*) (.*)$/.exec(title) ?? [];
    return names.split(' and ').includes(name) ? [says] : [];
  });
  const tests = own.length === 0 ? '`make demo` compares its results' : own.join('; ');
  const contract = spec.outputs.map(
    ({ path, allowEmpty }) => `\`${path}\`${allowEmpty ? ' (may be empty)' : ''}`,
  );
  return `| [${name}](../models/${name}.yaml) | ${what(spec.image)} | ${command(spec)} | ${contract.join(', ')} | ${tests} |`;
}

function what(image: string): string {
  const recipe = /\/([^/:]+):[^/]*$/.exec(image)?.[1] ?? '';
  return existsSync(join(ROOT, 'images/models', recipe, 'Dockerfile')) ? 'the real model' : 'a stand-in';
}

/** The program's own line; of a script, the lines that start the model. */
function command({ run: { per, command: argv = [] } }: ModelSpec): string {
  const script = argv[1] === '-c' ? (argv[2] ?? '') : undefined;
  const lines = script?.split('\n').filter((line) => /^\s*(\/app\/\S+\.sh|uv run|python "\$core)/.test(line));
  const shown = (lines ?? [argv.join(' ')]).map((line) => `\`${line.trim().replace(/ \|\| exit$/, '')}\``);
  return `per ${per}: ${shown.join(', then ').replaceAll('|', '\\|')}`;
}
