import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { STORE_ANSWER_BYTES } from '../api/store.ts';
import type { StoreQuestion } from '../api/store.ts';
import { answerOutput } from './answer.ts';
import type { AnswerOutput } from './answer.ts';

/** How an answering process is started. */
export interface AnswerProgram {
  /** The program's own entry file. */
  readonly main: string;
  readonly storeRoot: string;
  /** Given to the process; it is killed a little later. */
  readonly milliseconds: number;
  readonly leastIdleSeconds: number;
}

export interface Asked {
  /** What came of it; an error when the process was killed or failed. */
  readonly output: Promise<AnswerOutput>;
  /** Settles when the process is gone. A process that waits for a dead volume can outlive its kill for long. */
  readonly gone: Promise<unknown>;
}

/** Heap of one answering process; its request for memory is bounded whatever the dataset. */
const HEAP_MB = 384;
/** A small nursery (MiB), as in a pod: V8 would let the short-lived units of a large plan take three times what is used. */
const NURSERY_MB = 4;
const KILL_MS = 3000;

/** Starts a process for one question. Aborting the signal kills it. */
export function askProcess(
  program: AnswerProgram,
  question: StoreQuestion,
  given: { readonly body: string; readonly signal: AbortSignal },
): Asked {
  const { main, storeRoot, milliseconds, leastIdleSeconds } = program;
  const limits = ['--milliseconds', String(milliseconds), '--least-idle-seconds', String(leastIdleSeconds)];
  const memory = [`--max-old-space-size=${HEAP_MB}`, `--max-semi-space-size=${NURSERY_MB}`];
  let timer: NodeJS.Timeout | undefined;
  const child = spawn(
    process.execPath,
    [...memory, main, 'agent', 'answer', question, '--store', storeRoot, ...limits],
    { stdio: ['pipe', 'pipe', 'inherit'], env: {} },
  );
  const kill = (): void => void child.kill('SIGKILL');
  const late = new Promise<AnswerOutput>((resolve) => {
    timer = setTimeout(() => {
      kill();
      resolve(unanswered(milliseconds));
    }, milliseconds + KILL_MS);
  });
  given.signal.addEventListener('abort', kill, { once: true });
  if (given.signal.aborted) kill();
  const gone = once(child, 'exit')
    .catch(() => undefined)
    .finally(() => {
      clearTimeout(timer);
      given.signal.removeEventListener('abort', kill);
    });
  child.stdin.on('error', () => undefined); // a process that died early does not read
  child.stdin.end(given.body);
  const output = readAll(child.stdout).then((text) => parse(text) ?? unanswered(milliseconds));
  return { output: Promise.race([output, late]), gone };
}

function unanswered(milliseconds: number): AnswerOutput {
  const error = `no answer within ${milliseconds} ms and ${HEAP_MB} MiB: the volume hangs, or the dataset is very large`;
  return { error, asker: false };
}

/** Empty when the process was killed or wrote too much. */
async function readAll(stream: Readable): Promise<string> {
  let text = '';
  try {
    for await (const chunk of stream.setEncoding('utf8')) {
      text += String(chunk);
      if (text.length > STORE_ANSWER_BYTES) return '';
    }
    return text;
  } catch {
    return '';
  }
}

function parse(text: string): AnswerOutput | undefined {
  try {
    return answerOutput.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
