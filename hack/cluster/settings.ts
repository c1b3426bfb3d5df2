import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { freePort } from './wait.ts';

const Port = z.number().int().min(1).max(65_535);

const Settings = z.object({
  name: z.string(),
  nodeName: z.string(),
  address: z.string(),
  podCidr: z.string(),
  serviceCidr: z.string(),
  bridge: z.string(),
  gpus: z.number().int().min(0),
  /** Values of the kernel before `up`, which `down` puts back. */
  ipForwardBefore: z.string(),
  ports: z.object({
    apiserver: Port,
    etcd: Port,
    etcdPeer: Port,
    controllerManager: Port,
    scheduler: Port,
    kubelet: Port,
    kubeletHealth: Port,
    proxyHealth: Port,
    proxyMetrics: Port,
    kwok: Port,
  }),
});

/** Everything that is chosen once per cluster, at its first `up`, and kept until `down`. */
export type Settings = z.output<typeof Settings>;

export const DEFAULT_NAME = 'analysis-operator';

const settingsFile = (dir: string): string => join(dir, 'cluster.json');

/** The settings of the cluster in `dir`; undefined when there is none. */
export async function readSettings(dir: string): Promise<Settings | undefined> {
  const text = await readFile(settingsFile(dir), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : Settings.parse(JSON.parse(text));
}

/** Reads the settings of `dir` or chooses and stores new ones. */
export async function ensureSettings(
  dir: string,
  wish: { readonly name: string; readonly gpus: number },
): Promise<Settings> {
  const stored = await readSettings(dir);
  if (stored !== undefined && stored.name !== wish.name) {
    throw new Error(
      `${dir} holds the cluster '${stored.name}', not '${wish.name}': choose another --state or --name`,
    );
  }
  const settings =
    stored === undefined
      ? await chooseSettings(wish)
      : { ...stored, gpus: wish.gpus, address: keptAddress(stored.address) };
  await mkdir(dir, { recursive: true, mode: 0o755 });
  await writeFile(settingsFile(dir), `${JSON.stringify(settings, null, 2)}\n`);
  return settings;
}

/** Networks of a cluster by its name, so that several can stand on one machine. */
export function networksOf(name: string): Pick<Settings, 'podCidr' | 'serviceCidr' | 'bridge'> {
  if (name === DEFAULT_NAME) return { podCidr: '10.244.0.0/24', serviceCidr: '10.96.0.0/16', bridge: 'ao0' };
  const index = 1 + (createHash('sha256').update(name).digest().readUInt16BE(0) % 200);
  return { podCidr: `10.244.${index}.0/24`, serviceCidr: `10.97.${index}.0/24`, bridge: `ao${index}` };
}

async function chooseSettings(wish: { readonly name: string; readonly gpus: number }): Promise<Settings> {
  const ports = {
    apiserver: await freePort(6443),
    etcd: await freePort(2379),
    etcdPeer: await freePort(2380),
    controllerManager: await freePort(10_257),
    scheduler: await freePort(10_259),
    kubelet: await freePort(10_250),
    kubeletHealth: await freePort(10_248),
    proxyHealth: await freePort(10_256),
    proxyMetrics: await freePort(10_249),
    kwok: await freePort(10_247),
  };
  const ipForwardBefore = (await readFile('/proc/sys/net/ipv4/ip_forward', 'utf8')).trim();
  return {
    ...wish,
    nodeName: 'node-1',
    address: machineAddress(),
    ...networksOf(wish.name),
    ipForwardBefore,
    ports,
  };
}

// A machine may come back from a reboot with another address.
function keptAddress(address: string): string {
  const present = Object.values(networkInterfaces()).some((all) =>
    all?.some((own) => own.address === address),
  );
  return present ? address : machineAddress();
}

/** The machine's own IPv4 address; kubelet refuses loopback as a node's address. */
function machineAddress(): string {
  const virtual = /^(ao\d|docker|br-|cni|veth|virbr)/;
  for (const [device, addresses] of Object.entries(networkInterfaces())) {
    const own = addresses?.find(({ family, internal }) => family === 'IPv4' && !internal);
    if (own !== undefined && !virtual.test(device)) return own.address;
  }
  throw new Error(
    'this machine has no IPv4 address beside loopback: give one to an interface (ip addr add ...)',
  );
}
