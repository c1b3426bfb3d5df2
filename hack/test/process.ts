import { spawn } from 'node:child_process';

export interface Finished {
  readonly code: number;
  readonly output: string;
}

/** When a program has ended its work, and how long it may take to exit after that. */
export interface Linger {
  readonly after: RegExp;
  readonly ms: number;
}

/** Runs a program, shows its output as it comes and returns it as well. One that stays longer than `linger` is killed. */
export function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  linger?: Linger,
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const chunks: Buffer[] = [];
    let killer: NodeJS.Timeout | undefined;
    const kill = (): void => {
      console.error(
        `${program} has ended its work but does not exit, something is left running in it: killed`,
      );
      child.kill('SIGKILL');
      // A program that it left behind may hold these open.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      process.stdout.write(chunk);
      if (linger?.after.test(chunk.toString())) killer ??= setTimeout(kill, linger.ms);
    });
    child.stderr.pipe(process.stderr);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(killer);
      resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() });
    });
  });
}
