import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { ANNOTATION } from '../../src/api/keys.ts';
import { site } from '../e2e/support/site.ts';

/** Every Job and every pod that a namespace ever had, as watches tell them. */
export interface Ledger {
  /** UIDs by `<task>/<attempt>`. */
  jobs(): ReadonlyMap<string, ReadonlySet<string>>;
  pods(): ReadonlyMap<string, ReadonlySet<string>>;
  close(): Promise<void>;
}

const path = (annotation: string): string => `{.metadata.annotations.${annotation.replaceAll('.', '\\.')}}`;
const LINE = `{.metadata.uid} ${path(ANNOTATION.task)}/${path(ANNOTATION.attempt)}{"\\n"}`;

export function keepLedger(namespace: string): Ledger {
  const [jobs, pods] = [watchOver('jobs', namespace), watchOver('pods', namespace)];
  return {
    jobs: () => jobs.seen,
    pods: () => pods.seen,
    close: async () => void (await Promise.all([jobs, pods].map(({ child }) => end(child)))),
  };
}

function watchOver(resource: string, namespace: string) {
  const { kubectl, kubeconfig } = site();
  const seen = new Map<string, Set<string>>();
  const args = ['get', resource, '-n', namespace, '--watch', '-o', `jsonpath=${LINE}`];
  const child = spawn(kubectl, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  createInterface(child.stdout).on('line', (line) => {
    const [uid = '', key = ''] = line.split(' ');
    seen.set(key, (seen.get(key) ?? new Set()).add(uid));
  });
  return { child, seen };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
