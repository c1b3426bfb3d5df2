import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from '../../hack/gen/files.ts';
import { eventually } from './eventually.ts';

export const STORE_TOKEN = 'the-secret-of-this-test';

/** A store on disk with a real `agent serve` process in front of it. */
export interface StoreAgent {
  readonly root: string;
  /** File with the secret that the agent accepts. */
  readonly tokenFile: string;
  url(): string;
  put(path: string, content?: string | Buffer): Promise<void>;
  /** Starts the process, again after a stop; its port stays. */
  start(...flags: readonly string[]): Promise<void>;
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Stops the process that answers a question as soon as there is one; what is returned ends it. */
  holdAnswer(): Promise<() => void>;
  stop(): Promise<void>;
  remove(): Promise<void>;
}

/** In front of a store of its own, or of one that is there. */
export async function aStoreAgent(store?: string): Promise<StoreAgent> {
  const place = await mkdtemp(join(tmpdir(), 'store-agent-'));
  const root = store ?? join(place, 'store');
  const tokenFile = join(place, 'token');
  await mkdir(root, { recursive: true });
  await writeFile(tokenFile, `${STORE_TOKEN}\n`);
  let port = 0;
  let child: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (child?.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  };
  return {
    root,
    tokenFile,
    url: () => `http://127.0.0.1:${port}/{namespace}/`,
    put: async (path, content = 'x') => {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), content);
    },
    start: async (...flags) => {
      const listen = ['--host', '127.0.0.1', '--port', String(port)];
      const args = ['agent', 'serve', '--store', root, '--token-file', tokenFile, ...listen, ...flags];
      const source = process.env['ANALYSIS_OPERATOR_SOURCE'] ?? ROOT;
      const started = spawn(process.execPath, [join(source, 'src/main.ts'), ...args], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      child = started;
      const exited = once(started, 'exit').then(([code]: unknown[]) => {
        throw new Error(`agent serve ended with exit code ${String(code)} before it listened`);
      });
      exited.catch(() => undefined); // once it listens, its end is the test's own doing
      const [line] = await Promise.race([once(createInterface(started.stdout), 'line'), exited]);
      port = Number(/port (\d+)/.exec(String(line))?.[1]);
    },
    signal: (name) => void child?.kill(name),
    holdAnswer: async () => {
      const answering = await eventually('a process answers', () => onlyChildOf(child?.pid));
      process.kill(answering, 'SIGSTOP');
      return () => void process.kill(answering, 'SIGKILL');
    },
    stop,
    remove: async () => {
      await stop();
      await rm(place, { recursive: true, force: true });
    },
  };
}

async function onlyChildOf(pid: number | undefined): Promise<number | undefined> {
  const [child] = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ', 1);
  return child ? Number(child) : undefined;
}
