import { join, resolve } from 'node:path';
import process from 'node:process';
import { Command } from 'commander';
import { startControlPlane } from './control-plane.ts';
import { currentDown, currentUp, kindDown, kindUp, kubectlStatus } from './docker-drivers.ts';
import { buildImage, loadImage } from './images.ts';
import { withLock } from './lock.ts';
import { nativeDown } from './native-down.ts';
import { nativeStatus } from './native-status.ts';
import { nativeUp } from './native.ts';
import { ENVIRONMENT, chooseDriver, parseOptions, type Driver, type Options } from './options.ts';
import { requireRoot } from './prerequisites.ts';
import { createProgress } from './progress.ts';

const progress = createProgress();

function clusterCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option(
      '--driver <driver>',
      `native, kind or current (env ${ENVIRONMENT.driver}); default: kind where docker answers, else native`,
    )
    .option('--name <name>', `name of the cluster (env ${ENVIRONMENT.name})`)
    .option(
      '--state <dir>',
      `where a cluster keeps its files (env ${ENVIRONMENT.state}); default: /var/lib/<name>-cluster for native`,
    );
}

async function chosen(command: Command): Promise<{ readonly driver: Driver; readonly options: Options }> {
  const options = parseOptions(command.opts());
  return { driver: await chooseDriver(options), options };
}

function sayWaiting(holder: string): void {
  progress.say(`waiting for ${holder}, which works on the same cluster`);
}

// Two `up` at once would start everything twice.
function exclusively(options: Options, work: () => Promise<void>): Promise<void> {
  requireRoot();
  return withLock(`${options.state}.lock`, sayWaiting, work);
}

async function up(driver: Driver, options: Options): Promise<void> {
  if (driver === 'native')
    await exclusively(options, () => nativeUp({ ...options, dir: options.state }, progress));
  else if (driver === 'kind') await kindUp(options, progress);
  else await currentUp(options, progress);
  progress.say('cluster is up; to use it:');
  const path = driver === 'native' ? ` PATH=${join(options.state, 'bin')}:$PATH` : '';
  process.stdout.write(`export KUBECONFIG=${join(options.state, 'kubeconfig')}${path}\n`);
}

async function down(driver: Driver, options: Options): Promise<void> {
  if (driver === 'native') await exclusively(options, () => nativeDown(options.state, progress));
  else if (driver === 'kind') await kindDown(options, progress);
  else await currentDown(options, progress);
}

async function status(driver: Driver, options: Options): Promise<void> {
  const { up: isUp, lines } =
    driver === 'native' ? await nativeStatus(options.state) : await kubectlStatus(options);
  process.stdout.write(
    `${lines.join('\n')}\n${isUp ? `up: KUBECONFIG=${join(options.state, 'kubeconfig')}` : 'not up'}\n`,
  );
  if (!isUp) process.exitCode = 1;
}

function keyValue(item: string, all: Readonly<Record<string, string>>): Record<string, string> {
  const [key = '', ...value] = item.split('=');
  return { ...all, [key]: value.join('=') };
}

function imageCommands(): Command {
  const image = new Command('image').description('images for the cluster, with or without a Docker engine');
  const build = clusterCommand('build', 'build an image; an unchanged one is not built again')
    .requiredOption('--tag <name>', 'name of the image')
    .requiredOption('--file <path>', 'path of the Dockerfile')
    .option('--context <dir>', 'build context', '.')
    .option('--target <stage>', 'stage to build')
    .option('--build-arg <key=value>', 'value of an ARG; repeatable', keyValue, {})
    .action(
      async (flags: {
        tag: string;
        file: string;
        context: string;
        target?: string;
        buildArg: Record<string, string>;
      }) => {
        const { driver } = await chosen(build);
        const { tag, file, target, buildArg: buildArgs } = flags;
        const context = resolve(flags.context);
        await buildImage(
          { tag, file: resolve(file), context, buildArgs, ...(target === undefined ? {} : { target }) },
          driver,
          progress,
        );
      },
    );
  const load = clusterCommand('load', 'bring a built image into the cluster')
    .argument('<name>', 'name of the image')
    .action(async (name: string) => {
      const { driver, options } = await chosen(load);
      await loadImage(name, { driver, name: options.name, state: options.state }, progress);
    });
  return image.addCommand(build).addCommand(load);
}

async function controlPlane(flags: {
  dir?: string;
  audit?: boolean;
  controllerManager?: boolean;
}): Promise<void> {
  const plane = await startControlPlane({
    ...(flags.audit === true ? { audit: 'requests' } : {}),
    controllerManager: flags.controllerManager ?? false,
    ...(flags.dir === undefined ? {} : { dir: resolve(flags.dir) }),
  });
  progress.say(`control plane ready at ${plane.url}; end it with Ctrl-C`);
  process.stdout.write(`export KUBECONFIG=${plane.kubeconfig}\n`);
  const keepAlive = setInterval(() => undefined, 60_000);
  await new Promise<void>((done) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => done());
  });
  clearInterval(keepAlive);
  await plane.stop();
}

function perform(command: Command, action: (driver: Driver, options: Options) => Promise<void>): Command {
  return command.action(async () => {
    const { driver, options } = await chosen(command);
    await action(driver, options);
  });
}

function printPath(_: Driver, options: Options): Promise<void> {
  process.stdout.write(`${join(options.state, 'kubeconfig')}\n`);
  return Promise.resolve();
}

function createProgram(): Command {
  const program = new Command('cluster').description(
    'a Kubernetes cluster to develop and try the operator on',
  );
  const upCommand = clusterCommand('up', 'bring the cluster up, or repair it')
    .option('--context <name>', `kubeconfig context for the driver current (env ${ENVIRONMENT.context})`)
    .option('--gpus <n>', `fake nvidia.com/gpu of the node, default 4 (env ${ENVIRONMENT.gpus})`)
    .option(
      '--kwok-nodes <n>',
      `further nodes without a machine, default 0 (native; env ${ENVIRONMENT.kwokNodes})`,
    )
    .option('--kwok-gpus <n>', `nvidia.com/gpu of each of them, default 8 (env ${ENVIRONMENT.kwokGpus})`)
    .option('--audit', `log every change, before it is answered (native; env ${ENVIRONMENT.audit})`);
  program.addCommand(perform(upCommand, up));
  program.addCommand(
    perform(clusterCommand('down', 'remove the cluster; the cache of binaries and images stays'), down),
  );
  program.addCommand(
    perform(clusterCommand('status', 'say what runs; exit code 1 when not all is well'), status),
  );
  program.addCommand(
    perform(clusterCommand('kubeconfig', "print the path of the cluster's kubeconfig"), printPath),
  );
  program.addCommand(imageCommands());
  const plane = new Command('control-plane')
    .description('an API server without nodes on free ports, until Ctrl-C')
    .option('--dir <dir>', 'where its files go; default: a temporary directory')
    .option('--audit', 'write an audit log')
    .option('--controller-manager', 'run the standard controllers')
    .action(controlPlane);
  return program.addCommand(plane);
}

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  progress.say(`failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
