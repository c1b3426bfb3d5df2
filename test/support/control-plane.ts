import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { after, before } from 'mocha';
import { parse } from 'yaml';
import { z } from 'zod';
import { ROOT } from '../../hack/gen/files.ts';
import {
  type ControlPlane as Pieces,
  type ControlPlaneOptions,
  startControlPlane,
} from '../../hack/cluster/control-plane.ts';
import { apiClient, type Answer, type Api } from './api.ts';

/** A real API server with the CRDs of this checkout; no node, but the standard controllers (Jobs, garbage collection). */
export type ControlPlane = {
  readonly kubeconfig: string;
  readonly api: Api;
  /** Its programs and files; undefined for a cluster that was running before. */
  readonly pieces: Pieces | undefined;
};

// Binaries may have to be built first, which takes minutes, once per machine.
const START_TIMEOUT_MS = 20 * 60_000;
const ESTABLISH_TIMEOUT_MS = 30_000;

let options: ControlPlaneOptions = { controllerManager: true };

/** Changes what the control plane of this process is made of; call it while the files are loaded. */
export function wantControlPlane(more: ControlPlaneOptions): void {
  options = { ...options, ...more };
}

let running: (ControlPlane & { readonly stop: () => Promise<void> }) | undefined;

// Importing this module is what registers the hooks: one control plane per process, however many files use it.
before('start a control plane', async function () {
  this.timeout(START_TIMEOUT_MS);
  running = await start();
  await applyCrds();
});

after('stop the control plane', async function () {
  this.timeout(60_000);
  for (const path of leftovers) await running?.api.call('DELETE', path);
  await running?.api.close();
  await running?.stop();
});

/** The control plane of this process; call it inside hooks and tests, not while the files are loaded. */
export function controlPlane(): ControlPlane {
  if (running === undefined)
    throw new Error('the control plane is not up yet: call controlPlane() inside a test');
  return running;
}

const leftovers: string[] = [];

/** Removes the object at `path` when all tests are done: a cluster that was running before stays as it was. */
export function deleteAtEnd(path: string): void {
  leftovers.push(path);
}

let namespaces = 0;

/** Creates a namespace that no other test uses. */
export async function freshNamespace(
  prefix: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<string> {
  namespaces += 1;
  const name = `${prefix}-${process.pid}-${namespaces}`;
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
  expectOk(await controlPlane().api.call('POST', '/api/v1/namespaces', { body }));
  deleteAtEnd(`/api/v1/namespaces/${name}`);
  return name;
}

/** The body of an answer that is not a refusal; throws with the refusal otherwise. */
export function expectOk({ status, body }: Answer): unknown {
  if (status >= 400) throw new Error(`the server refused with ${status}: ${JSON.stringify(body)}`);
  return body;
}

/** `ANALYSIS_TEST_KUBECONFIG` names a running cluster to use instead of a new one. */
async function start(): Promise<NonNullable<typeof running>> {
  const given = process.env['ANALYSIS_TEST_KUBECONFIG'];
  if (given !== undefined && given !== '')
    return {
      kubeconfig: given,
      api: await apiClient(given),
      pieces: undefined,
      stop: () => Promise.resolve(),
    };
  const pieces = await startControlPlane(options);
  const { kubeconfig, stop } = pieces;
  return { kubeconfig, api: await apiClient(kubeconfig), pieces, stop };
}

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const crd = z.looseObject({
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({ group: z.string(), names: z.looseObject({ plural: z.string() }) }),
});

/** Brings the CRDs of a checkout, those of this one by default, and waits until their kinds are served. */
export async function applyCrds(
  root: string = ROOT,
  change: (body: z.output<typeof crd>) => unknown = (body) => body,
): Promise<void> {
  const { api } = controlPlane();
  for (const file of await readdir(join(root, 'crds'))) {
    const text = await readFile(join(root, 'crds', file), 'utf8');
    const body = crd.parse(change(crd.parse(parse(text))));
    const path = `${CRDS}/${body.metadata.name}?fieldManager=integration-test&force=true`;
    expectOk(await api.call('PATCH', path, { body, contentType: 'application/apply-patch+yaml' }));
    await served(api, `/apis/${body.spec.group}/v1alpha1/${body.spec.names.plural}`);
  }
}

/** A new kind is served some 100 ms after its CRD was accepted. */
async function served(api: Api, path: string): Promise<void> {
  const deadline = Date.now() + ESTABLISH_TIMEOUT_MS;
  while ((await api.call('GET', path)).status !== 200) {
    if (Date.now() > deadline) throw new Error(`${path} is not served after ${ESTABLISH_TIMEOUT_MS} ms`);
    await pause(50);
  }
}
