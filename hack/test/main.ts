import { mkdirSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { countsOf, type Counts, failuresOf, runMocha } from './mocha.ts';
import { run } from './process.ts';

/** One kind of test. Unit and integration tests measure coverage; e2e runs the operator in its container. */
interface Suite {
  readonly name: string;
  readonly files: readonly string[];
  readonly timeoutMs: number;
  readonly coverage: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

const SUITES: readonly Suite[] = [
  { name: 'unit', files: ['src/**/*.test.ts', 'hack/**/*.test.ts'], timeoutMs: 20_000, coverage: true },
  { name: 'integration', files: ['test/integration/**/*.test.ts'], timeoutMs: 120_000, coverage: true },
  { name: 'contract', files: ['test/contract/**/*.test.ts'], timeoutMs: 60_000, coverage: false },
  // The quick choice; `make faults` runs every row, every plan and the mutants.
  {
    name: 'faults',
    files: ['test/faults/**/*.test.ts'],
    timeoutMs: 180_000,
    coverage: false,
    env: { FAULTS_SMOKE: '1' },
  },
  // Of its own, because Kueue's webhooks stand before every Job of their control plane.
  { name: 'kueue', files: ['test/kueue/**/*.test.ts'], timeoutMs: 120_000, coverage: false },
  { name: 'e2e', files: ['test/e2e/**/*.test.ts'], timeoutMs: 600_000, coverage: false },
  // Of its own, because it installs the previous version at first.
  { name: 'upgrade', files: ['test/upgrade/**/*.test.ts'], timeoutMs: 600_000, coverage: false },
];

const COVERAGE_DIR = 'coverage/tmp';
const LEAST_LINES = 85;
/** Characters shown of a suite that failed without naming a test. */
const LAST_WORDS = 2_000;

const HELP = `Usage: node hack/test/main.ts [--only unit|integration|contract|faults|kueue|e2e|upgrade] [--grep TEXT]

Runs every test, or one kind. The last line is "N passed, N failed"; a skipped test counts as failed.`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, grep: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const suites = SUITES.filter(({ name }) => values.only === undefined || name === values.only);
  if (suites.length === 0)
    throw new Error(`--only is "${values.only}" but must be one of ${SUITES.map((s) => s.name).join(', ')}`);
  rmSync(COVERAGE_DIR, { recursive: true, force: true });
  mkdirSync(COVERAGE_DIR, { recursive: true });
  const all: Counts[] = [];
  const failures: string[] = [];
  for (const suite of suites) {
    const { counts, said } = await runSuite(suite, values.grep);
    all.push(counts);
    if (counts.failed > 0) failures.push(`=== failed in ${suite.name} ===\n${said}`);
  }
  const complete = values.only === undefined && values.grep === undefined;
  if (complete) all.push(await coverage());
  // Once more at the end: whoever sees only the last lines of a log must learn what failed, and why.
  for (const said of failures) console.log(`\n${said}`);
  const passed = sum(all.map((c) => c.passed));
  const failed = sum(all.map((c) => c.failed));
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}

async function runSuite(suite: Suite, grep: string | undefined): Promise<{ counts: Counts; said: string }> {
  const started = Date.now();
  console.log(`\n=== ${suite.name} ===`);
  const args = ['--timeout', String(suite.timeoutMs), ...(grep ? ['--grep', grep] : []), ...suite.files];
  const env = suite.coverage ? { NODE_V8_COVERAGE: COVERAGE_DIR } : {};
  const { code, output } = await runMocha(args, { ...env, ...suite.env });
  const counts = countsOf(output, code);
  console.log(
    `=== ${suite.name}: ${counts.passed} passed, ${counts.failed} failed in ${Math.round((Date.now() - started) / 1000)} s`,
  );
  return { counts, said: failuresOf(output) || output.slice(-LAST_WORDS) };
}

/** Lines of src/ that unit and integration tests run; below the threshold counts as one failure. */
async function coverage(): Promise<Counts> {
  const report = ['report', '--temp-directory', COVERAGE_DIR, '--all', '--src', 'src', '--include', 'src/**'];
  const exclude = ['--exclude', '**/*.test.ts', '--exclude', '**/testing/**'];
  const check = [
    '--check-coverage',
    '--lines',
    String(LEAST_LINES),
    '--reporter',
    'text',
    '--reporter',
    'lcovonly',
  ];
  console.log(`\n=== coverage of src/, at least ${LEAST_LINES} % of lines ===`);
  const { code } = await run('c8', [...report, ...exclude, ...check], {});
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

process.exitCode = await main();
