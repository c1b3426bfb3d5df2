import { createServer, connect, type Socket } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBinaries } from '../../../hack/cluster/build.ts';
import { pieceRunner } from '../../../hack/cluster/children.ts';
import { apiserverArgs } from '../../../hack/cluster/flags.ts';
import { createProgress } from '../../../hack/cluster/progress.ts';
import { freePort } from '../../../hack/cluster/wait.ts';
import { writeKubeconfig } from '../../../hack/cluster/kubeconfig.ts';
import { apiClient } from '../../support/api.ts';
import { controlPlane } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import { type Upstream, upstreamOf } from './proxy.ts';

/** A second API server over the same etcd that can be frozen in time: it goes on answering, from an old cache. */
export interface SecondServer {
  readonly upstream: Upstream;
  /** Cuts it off from etcd without its noticing. Its own keep-alive notices after some 30 s: thaw before. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}

const READY_MS = 60_000;

export async function startSecondServer(): Promise<SecondServer> {
  const { pieces } = controlPlane();
  if (!pieces) throw new Error('a second API server needs a control plane of our own');
  const dir = await mkdtemp(join(tmpdir(), 'second-server-'));
  const line = await startLine(pieces.layout.ports.etcd);
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
  await api.close();
  const upstream = await upstreamOf(kubeconfig);
  return {
    upstream,
    freeze: () => line.freeze(),
    thaw: () => line.thaw(),
    async stop() {
      upstream.agent.destroy();
      await runner.stop('second-apiserver', 'SIGKILL');
      line.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

interface Line {
  readonly port: number;
  freeze(): void;
  thaw(): void;
  close(): void;
}

/** A TCP line to etcd that can stop carrying anything while it stays connected. */
async function startLine(etcdPort: number): Promise<Line> {
  const sockets = new Set<Socket>();
  let frozen = false;
  const server = createServer((near) => {
    const far = connect(etcdPort, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk: Buffer) => void to.write(chunk));
      from.once('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.on('error', () => from.destroy());
      if (frozen) from.pause();
    }
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port,
    freeze: () => {
      frozen = true;
      for (const socket of sockets) socket.pause();
    },
    thaw: () => {
      frozen = false;
      for (const socket of sockets) socket.resume();
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
