import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callApi } from './api.ts';
import { AUDIT_POLICIES } from './audit.ts';
import { ensureBinaries, type Binaries } from './build.ts';
import { pieceRunner, type PieceRunner } from './children.ts';
import { CONTROL_PLANE_COMPONENTS } from './components.ts';
import { ensureAdminToken, ensureCredentials } from './credentials.ts';
import {
  apiserverArgs,
  auditLogFile,
  controllerManagerArgs,
  etcdArgs,
  schedulerArgs,
  type ControlPlaneLayout,
  type Flags,
} from './flags.ts';
import { certFile } from './pki.ts';
import { createProgress } from './progress.ts';
import { freePort, waitFor } from './wait.ts';

/** The programs of a control plane without a node. */
export const PIECES = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;
export type Piece = (typeof PIECES)[number];

/** What a control plane for tests is made of; all optional. */
export type ControlPlaneOptions = {
  /** Where its files go; default is a temporary directory, which `stop` removes. */
  readonly dir?: string;
  /** Run the standard controllers too (Jobs, garbage collection, service accounts); default false. */
  readonly controllerManager?: boolean;
  readonly scheduler?: boolean;
  /** Write an audit log: of all requests who asked for what, or of all writes also what was sent and answered. */
  readonly audit?: keyof typeof AUDIT_POLICIES;
  /** More API server flags, which win over the built-in ones. */
  readonly apiserverFlags?: Flags;
  /** More flags of the controller manager, which win over the built-in ones. */
  readonly controllerManagerFlags?: Flags;
};

/** A running control plane; nothing of it outlives this process. */
export type ControlPlane = {
  readonly dir: string;
  readonly layout: ControlPlaneLayout;
  readonly url: string;
  /** Path of a kubeconfig with an admin's client certificate. */
  readonly kubeconfig: string;
  readonly caFile: string;
  /** A bearer token of the group `system:masters`. */
  readonly adminToken: string;
  readonly logs: string;
  readonly auditLog: string;
  /** Ends one program, by TERM unless another signal is given; resolves when it is gone. */
  readonly stopPiece: (piece: Piece, signal?: NodeJS.Signals) => Promise<void>;
  /** Starts a program again with the same flags, data and port; resolves when it answers. */
  readonly startPiece: (piece: Piece) => Promise<void>;
  /** Ends everything and removes the temporary directory. Safe to call twice. */
  readonly stop: () => Promise<void>;
};

const READY_LIMIT_MS = 60_000;
/** Starts etcd and an API server (and more on request) on free loopback ports; resolves when `/readyz` says so. */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const bin = await ensureBinaries(CONTROL_PLANE_COMPONENTS, createProgress());
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'control-plane-')));
  const layout = await layOut(dir, options.audit);
  await ensureCredentials(layout, { context: 'control-plane' });
  const adminToken = await ensureAdminToken(join(dir, 'tokens.csv'));
  const runner = pieceRunner(join(dir, 'logs'));
  const startPiece = pieceStarter({
    layout,
    bin,
    runner,
    flags: options.apiserverFlags ?? {},
    controllerManagerFlags: options.controllerManagerFlags ?? {},
  });
  const stop = async (): Promise<void> => {
    for (const piece of PIECES.toReversed()) await runner.stop(piece, 'SIGKILL');
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
  };
  try {
    await startPiece('etcd');
    await startPiece('kube-apiserver');
    if (options.controllerManager === true) await startPiece('kube-controller-manager');
    if (options.scheduler === true) await startPiece('kube-scheduler');
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    dir,
    layout,
    url: urlOf(layout),
    kubeconfig: join(dir, 'kubeconfig'),
    caFile: certFile(layout.pki, 'ca'),
    adminToken,
    logs: join(dir, 'logs'),
    auditLog: auditLogFile(dir),
    stopPiece: (piece, signal) => runner.stop(piece, signal),
    startPiece,
    stop,
  };
}

const urlOf = (layout: ControlPlaneLayout): string => `https://${layout.address}:${layout.ports.apiserver}`;

async function layOut(dir: string, audit: ControlPlaneOptions['audit']): Promise<ControlPlaneLayout> {
  await mkdir(join(dir, 'logs'), { recursive: true });
  const auditPolicyFile = join(dir, 'audit-policy.yaml');
  if (audit) await writeFile(auditPolicyFile, AUDIT_POLICIES[audit]);
  const [apiserver, etcd, etcdPeer, controllerManager, scheduler] = await freePorts();
  return {
    dir,
    pki: join(dir, 'pki'),
    address: '127.0.0.1',
    bindAddress: '127.0.0.1',
    serviceCidr: '10.96.0.0/16',
    ports: { apiserver, etcd, etcdPeer, controllerManager, scheduler },
    tokenFile: join(dir, 'tokens.csv'),
    ...(audit ? { auditPolicyFile } : {}),
  };
}

async function freePorts(): Promise<readonly [number, number, number, number, number]> {
  return [await freePort(), await freePort(), await freePort(), await freePort(), await freePort()];
}

type Parts = {
  readonly layout: ControlPlaneLayout;
  readonly bin: Binaries;
  readonly runner: PieceRunner;
  readonly flags: Flags;
  readonly controllerManagerFlags: Flags;
};

function pieceStarter({
  layout,
  bin,
  runner,
  flags,
  controllerManagerFlags,
}: Parts): (piece: Piece) => Promise<void> {
  // Loopback is no valid endpoint address, so nothing may publish one.
  const apiserver = (): readonly string[] =>
    apiserverArgs(layout, { 'endpoint-reconciler-type': 'none', ...flags });
  const args: Readonly<Record<Piece, () => readonly string[]>> = {
    etcd: () => etcdArgs(layout),
    'kube-apiserver': apiserver,
    'kube-controller-manager': () => controllerManagerArgs(layout, controllerManagerFlags),
    'kube-scheduler': () => schedulerArgs(layout),
  };
  return async (piece) => {
    const command = bin[piece];
    if (command === undefined || !existsSync(command))
      throw new Error(`the binary ${piece} is missing in the cache`);
    await runner.start(piece, command, args[piece]());
    await waitFor(`${piece} answers`, () => answers(piece, layout, runner), {
      limitMs: READY_LIMIT_MS,
      everyMs: 50,
      hint: `see ${join(layout.dir, 'logs', `${piece}.log`)}`,
    });
  };
}

async function answers(piece: Piece, layout: ControlPlaneLayout, runner: PieceRunner): Promise<boolean> {
  if (!runner.runs(piece)) throw new Error(`${piece} ended`);
  const call = async (path: string): Promise<boolean> =>
    (await callApi(urlOf(layout), layout.pki, { path })).status === 200;
  switch (piece) {
    case 'etcd':
      return (
        await fetch(`http://127.0.0.1:${layout.ports.etcd}/health`, { signal: AbortSignal.timeout(2000) })
      ).ok;
    case 'kube-apiserver':
      return call('/readyz');
    case 'kube-controller-manager':
      return call('/api/v1/namespaces/default/serviceaccounts/default');
    case 'kube-scheduler':
      return true;
  }
}
