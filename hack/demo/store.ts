import { chmod, chown, cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { run } from '../cluster/exec.ts';
import type { Kube } from './kube.ts';
import { NAMESPACE, OWNER } from './names.ts';

/** The demo's side of the shared volume. Paths are relative to its root. */
export type Store = {
  /** Puts a directory of this machine at `path`, replacing the inputs that lie there; published outputs stay. */
  readonly put: (directory: string, path: string) => Promise<void>;
  /** Files below `path`, relative to it; empty when there is no such directory. */
  readonly list: (path: string) => Promise<readonly string[]>;
  readonly read: (path: string) => Promise<string>;
};

/** Group-writable, and new entries inherit the group: what the README asks of a store. */
const DIRECTORY_MODE = 0o2775;

/** A store whose directory this machine sees: the native cluster's node is this machine. */
export async function hostStore(root: string): Promise<Store> {
  await mkdir(root, { recursive: true });
  await own(root);
  return {
    put: async (directory, path) => {
      const target = join(root, path);
      for (const part of await readdir(directory)) {
        // oxlint-disable-next-line no-await-in-loop -- three entries
        await rm(join(target, part), { recursive: true, force: true });
        // oxlint-disable-next-line no-await-in-loop -- as above
        await cp(join(directory, part), join(target, part), { recursive: true, preserveTimestamps: true });
      }
      await run('chown', ['-R', `${OWNER}:${OWNER}`, join(root, path.split('/')[0] ?? '')]);
      await run('find', [
        root,
        '-type',
        'd',
        '-not',
        '-path',
        '*/outputs/*',
        '-exec',
        'chmod',
        '2775',
        '{}',
        '+',
      ]);
    },
    list: async (path) => {
      const entries = await readdir(join(root, path), { recursive: true, withFileTypes: true }).catch(
        () => [],
      );
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => relative(join(root, path), join(entry.parentPath, entry.name)))
        .toSorted();
    },
    read: (path) => readFile(join(root, path), 'utf8'),
  };
}

async function own(directory: string): Promise<void> {
  await chown(directory, OWNER, OWNER);
  await chmod(directory, DIRECTORY_MODE);
}

const HELPER = 'store-access';
/** Python, because the model images bring no tar; text through `kubectl exec` is safer than binary. */
const UNPACK =
  'import base64,io,os,sys,tarfile;os.umask(2);tarfile.open(fileobj=io.BytesIO(base64.b64decode(sys.stdin.read()))).extractall(sys.argv[1])';
const LIST =
  'import os,sys;r=sys.argv[1];print("\\n".join(os.path.relpath(os.path.join(d,f),r) for d,_,fs in os.walk(r) for f in fs))';
const READ = 'import sys;sys.stdout.write(open(sys.argv[1],encoding="utf-8").read())';

/** A store that only pods see: a small pod with one of the model images gives access to it. */
export async function podStore(kube: Kube, image: string, claim: string): Promise<Store> {
  await kube.apply([helperPod(image, claim)]);
  await kube.run(['wait', '-n', NAMESPACE, `pod/${HELPER}`, '--for=condition=Ready', '--timeout=120s']);
  const python = (script: string, path: string, stdin?: string) =>
    kube.run(['exec', '-i', '-n', NAMESPACE, HELPER, '--', 'python3', '-c', script, `/store/${path}`], stdin);
  return {
    put: async (directory, path) => {
      await python(UNPACK, path, await archive(directory));
    },
    list: async (path) =>
      (await python(LIST, path))
        .split('\n')
        .filter((line) => line !== '')
        .toSorted(),
    read: (path) => python(READ, path),
  };
}

async function archive(directory: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'analysis-dataset-'));
  try {
    const file = join(folder, 'dataset.tar');
    await run('tar', ['-C', directory, '--no-same-owner', '-cf', file, '.']);
    return (await readFile(file)).toString('base64');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function helperPod(image: string, claim: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: HELPER, namespace: NAMESPACE },
    spec: {
      automountServiceAccountToken: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: OWNER,
        runAsGroup: OWNER,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: 'sleep',
          image,
          command: ['python3', '-c', 'import signal; signal.sigwait([signal.SIGTERM])'],
          resources: { requests: { cpu: '10m', memory: '32Mi' }, limits: { memory: '256Mi' } },
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            readOnlyRootFilesystem: true,
          },
          volumeMounts: [{ name: 'store', mountPath: '/store' }],
        },
      ],
      volumes: [{ name: 'store', persistentVolumeClaim: { claimName: claim } }],
    },
  };
}
