import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { ensureBinaries } from '../../../hack/cluster/build.ts';
import { pieceRunner } from '../../../hack/cluster/children.ts';
import { apiserverArgs } from '../../../hack/cluster/flags.ts';
import { createProgress } from '../../../hack/cluster/progress.ts';
import { freePort } from '../../../hack/cluster/wait.ts';
import { writeKubeconfig } from '../../../hack/cluster/kubeconfig.ts';
import { type Api, apiClient } from '../../support/api.ts';
import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { startEtcdLine } from './etcd-line.ts';
import { type Upstream, upstreamOf } from './proxy.ts';

/** A second API server over the same etcd that can be frozen in time: it goes on answering, from an old cache. */
export interface SecondServer {
  readonly upstream: Upstream;
  /** Waits until its cache holds the same versions of these collections as the first API server. */
  catchUp(...paths: readonly string[]): Promise<void>;
  /** Cuts it off from etcd without its noticing. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

const READY_MS = 60_000;

export async function startSecondServer(): Promise<SecondServer> {
  const { pieces } = controlPlane();
  if (!pieces) throw new Error('a second API server needs a control plane of our own');
  const dir = await mkdtemp(join(tmpdir(), 'second-server-'));
  const line = await startEtcdLine(pieces.layout.ports.etcd);
  const { auditPolicyFile: _none, ...layout } = pieces.layout;
  const port = await freePort();
  const own = { ...layout, ports: { ...layout.ports, apiserver: port, etcd: line.port } };
  const bin = await ensureBinaries(['kubernetes'], createProgress());
  const runner = pieceRunner(dir);
  await runner.start(
    'second-apiserver',
    bin['kube-apiserver'] ?? 'kube-apiserver',
    apiserverArgs(own, { 'endpoint-reconciler-type': 'none' }),
  );
  const kubeconfig = join(dir, 'kubeconfig');
  const server = `https://${own.address}:${port}`;
  await writeKubeconfig(kubeconfig, { server, pkiDir: own.pki, cert: 'admin', context: 'second' });
  const api = await apiClient(kubeconfig);
  const ready = async (): Promise<true | undefined> => {
    const answer = await api
      .call('GET', '/apis/analysis.elsi.dev/v1alpha1/analysistasks')
      .catch(() => undefined);
    return answer?.status === 200 ? true : undefined;
  };
  await eventually('the second API server answers', ready, READY_MS);
  const upstream = await upstreamOf(kubeconfig);
  return {
    upstream,
    async catchUp(...paths) {
      for (const path of paths) {
        const isEqual = async () =>
          (await versionsAt(api, `${path}?resourceVersion=0`)) ===
          (await versionsAt(controlPlane().api, path));
        await eventually(`${path} is known`, async () => ((await isEqual()) ? true : undefined));
      }
    },
    freeze: () => line.freeze(),
    thaw: () => line.thaw(),
    async stop() {
      upstream.agent.destroy();
      await api.close();
      await runner.stop('second-apiserver', 'SIGKILL');
      line.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const list = z.object({
  items: z.array(z.object({ metadata: z.object({ uid: z.string(), resourceVersion: z.string() }) })),
});

async function versionsAt(api: Api, path: string): Promise<string> {
  const { items } = list.parse(expectOk(await api.call('GET', path)));
  return items
    .map(({ metadata }) => `${metadata.uid}@${metadata.resourceVersion}`)
    .toSorted()
    .join();
}
