import { Argument, Command, Option } from 'commander';
import { AGENT_STEPS, agentOptions, runAgent, type AgentStep } from '../../agent/index.ts';
import { STORE_AGENT_PORT } from '../../api/keys.ts';
import { MOUNT } from '../../api/request.ts';
import { STORE_PATHS, type StoreQuestion } from '../../api/store.ts';
import { stopSignal } from '../process.ts';
import { wholeNumber } from '../whole-number.ts';

type Done = (code: number) => void;

/** `analysis-operator agent <step>`: what runs where the store is mounted. */
export function agentCommand(done: Done): Command {
  // Before the subcommands are made: they inherit it.
  const agent = new Command('agent')
    .description('What runs where the store is mounted: the steps of a task, and the store agent')
    .exitOverride();
  for (const step of AGENT_STEPS) addStep(agent, step, done);
  addServe(agent, done);
  addSelfTest(agent, done);
  addAnswer(agent, done);
  return agent;
}

/** Of a step of a task: kubelet ends it, after as long as the model may take to stop. */
function stepSignal(): AbortSignal {
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort(new Error('SIGTERM')));
  return stop.signal;
}

function addStep(agent: Command, step: AgentStep, done: Done): void {
  agent
    .command(step)
    .description('a step inside the pod of a task; started by the controller, not by people')
    .action(async () => done(await runAgent(step, agentOptions(process.env, stepSignal()))));
}

const log = (line: string): void => void process.stdout.write(`${line}\n`);
const storeOption = (): Option => new Option('--store <directory>', 'root of the store').default(MOUNT.store);
const number = (flags: string, description: string, fallback: number): Option =>
  new Option(flags, description).default(fallback);

/** Given on to each process that answers. */
interface AnswerFlags {
  readonly store: string;
  readonly milliseconds: number;
  readonly leastIdleSeconds: number;
}

interface ServeFlags extends AnswerFlags {
  readonly port: number;
  readonly host?: string;
  readonly tokenFile: string;
  readonly concurrency: number;
}

const answerOptions = (): Option[] => [
  storeOption(),
  number('--milliseconds <n>', 'time for one answer', 20_000).argParser(wholeNumber(1)),
  number('--least-idle-seconds <n>', 'nothing that was written to within this time is swept', 600).argParser(
    wholeNumber(0),
  ),
];

function addServe(agent: Command, done: Done): void {
  const serve = agent
    .command('serve')
    .description('the store agent: answers the controller before a task has a pod; runs until SIGTERM')
    .requiredOption('--token-file <file>', 'bearer secrets, one per line; read again for every request')
    .addOption(number('--port <n>', 'port to listen on', STORE_AGENT_PORT).argParser(wholeNumber(0, 65_535)))
    .option('--host <address>', 'address to listen on; all by default')
    .addOption(
      number('--concurrency <n>', 'questions that are answered at the same time', 4).argParser(
        wholeNumber(1, 64),
      ),
    );
  for (const option of answerOptions()) serve.addOption(option);
  serve.action(async (flags: ServeFlags) => done(await runServe(flags)));
}

async function runServe(flags: ServeFlags): Promise<number> {
  const [{ serveStore }, { askProcess }] = await Promise.all([
    import('../../agent/serve.ts'),
    import('../../agent/ask-process.ts'),
  ]);
  const { store: storeRoot, milliseconds, leastIdleSeconds, host, port } = flags;
  const program = { main: process.argv[1] ?? '', storeRoot, milliseconds, leastIdleSeconds };
  await serveStore({
    listen: { port, ...(host === undefined ? {} : { host }) },
    tokenFile: flags.tokenFile,
    concurrency: flags.concurrency,
    ask: (question, given) => askProcess(program, question, given),
    signal: stopSignal(),
    log,
  });
  return 0;
}

function addSelfTest(agent: Command, done: Done): void {
  agent
    .command('selftest')
    .description('does the file system keep what publication rests on? Exit code 0 yes, 13 no')
    .argument('[directory]', 'a directory of the store that tasks may write to', MOUNT.store)
    .option('--json', 'print one JSON document instead of text')
    .action(async (directory: string, { json }: { json?: true }) => {
      const { reportSelfTest } = await import('../../agent/selftest-report.ts');
      done(await reportSelfTest(directory, { json: json === true, log }));
    });
}

function addAnswer(agent: Command, done: Done): void {
  const questions = Object.keys(STORE_PATHS);
  const answer = agent
    .command('answer', { hidden: true })
    .description('answers one question from stdin; started by serve')
    .addArgument(new Argument('<question>').choices(questions));
  for (const option of answerOptions()) answer.addOption(option);
  answer.action(async (question: StoreQuestion, flags: AnswerFlags) =>
    done(await runAnswer(question, flags)),
  );
}

async function runAnswer(question: StoreQuestion, flags: AnswerFlags): Promise<number> {
  const { answerQuestion } = await import('../../agent/answer.ts');
  let body = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) body += String(chunk);
  const { store: storeRoot, milliseconds, leastIdleSeconds } = flags;
  const output = await answerQuestion(question, body, { storeRoot, milliseconds, leastIdleSeconds });
  process.stdout.write(JSON.stringify(output));
  return 0;
}
