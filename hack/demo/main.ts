import process from 'node:process';
import { clean } from './clean.ts';
import { demo } from './demo.ts';

const USAGE = `usage: node hack/demo/main.ts [clean]

From nothing to finished analyses of real speech. 'clean' removes everything that the demo made.

  ANALYSIS_CLUSTER_DRIVER  native, kind or current (kubectl's current context); default: kind where Docker answers, else native
  DEMO_STORAGE_CLASS       with current: a StorageClass that makes ReadWriteMany volumes
  DEMO_IMAGE_LOAD          with current: a command that brings a local image into the cluster, such as "minikube image load"
`;

const write = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  if (rest.length > 0 || (command !== undefined && command !== 'clean')) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (command === 'clean') {
    await clean(write);
    return 0;
  }
  return demo(write);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`DEMO FAILED: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
