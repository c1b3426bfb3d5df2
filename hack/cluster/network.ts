import { existsSync } from 'node:fs';
import { readFile, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, succeeds } from './exec.ts';
import type { Settings } from './settings.ts';

const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward';

// Table names hold no dashes: nft would need them quoted.
const tableOf = (settings: Pick<Settings, 'name'>): string => settings.name.replaceAll('-', '_');

/** The rules with which pods reach the outside under the machine's address; one own table per cluster. */
export function masqueradeRules(settings: Pick<Settings, 'name' | 'podCidr'>): string {
  const table = tableOf(settings);
  return `table ip ${table}
delete table ip ${table}
table ip ${table} {
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${settings.podCidr} ip daddr != ${settings.podCidr} masquerade
  }
}
`;
}

/** Lets pods reach the outside: forwarding on, their addresses masqueraded. Safe to repeat. */
export async function setUpNetwork(settings: Settings): Promise<void> {
  await writeFile(IP_FORWARD, '1');
  await run('nft', ['-f', '-'], { stdin: masqueradeRules(settings) });
}

/** Removes the bridge, the pods' links, all rules of the cluster, and puts forwarding back as it was. */
export async function tearDownNetwork(
  settings: Settings,
  options: { readonly kubeProxy: boolean },
): Promise<void> {
  const tables = [
    ['ip', tableOf(settings)],
    ...(options.kubeProxy
      ? [
          ['ip', 'kube-proxy'],
          ['ip6', 'kube-proxy'],
        ]
      : []),
  ];
  for (const [family = '', table = ''] of tables) await succeeds('nft', ['delete', 'table', family, table]);
  for (const link of await linksOf(settings.bridge)) await succeeds('ip', ['link', 'delete', link]);
  await succeeds('ip', ['link', 'delete', settings.bridge]);
  await forgetCniResults(settings.name);
  if (!(await anyBridge())) await writeFile(IP_FORWARD, settings.ipForwardBefore);
  await writeFile(IP_FORWARD, settings.ipForwardBefore);
}

/** Whether a bridge of a cluster is there: asked after one cluster's was removed, whether another one stands. */
export async function anyBridge(): Promise<boolean> {
  return (await readdir('/sys/class/net')).some((name) => /^ao\d+$/.test(name));
}

async function linksOf(bridge: string): Promise<readonly string[]> {
  return readdir(join('/sys/class/net', bridge, 'brif')).catch(() => []);
}

// libcni keeps its results in a fixed folder as <network>-<container>-<interface>, loopback ones under their own name.
async function forgetCniResults(network: string): Promise<void> {
  const folder = '/var/lib/cni/results';
  const files = await readdir(folder).catch(() => []);
  const own = files.filter((file) => file.startsWith(`${network}-`));
  const containers = own.map((file) => file.slice(network.length + 1).replace(/-[^-]+$/, ''));
  const loopbacks = containers.map((id) => `cni-loopback-${id}-lo`);
  for (const file of [...own, ...loopbacks]) await rm(join(folder, file), { force: true });
  await rmdir(folder).catch(() => undefined);
  await rmdir('/var/lib/cni').catch(() => undefined);
}

/** The resolver configuration for pods: the machine's, or systemd-resolved's upstream when that is a loopback stub. */
export async function podResolver(): Promise<{
  readonly file: string;
  readonly nameservers: readonly string[];
}> {
  const upstream = '/run/systemd/resolve/resolv.conf';
  const own = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
  const file = /^nameserver\s+127\./m.test(own) && existsSync(upstream) ? upstream : '/etc/resolv.conf';
  const text = await readFile(file, 'utf8').catch(() => '');
  return {
    file,
    nameservers: [...text.matchAll(/^nameserver\s+(\d+\.\d+\.\d+\.\d+)/gm)]
      .map(([, ip = '']) => ip)
      .slice(0, 3),
  };
}
