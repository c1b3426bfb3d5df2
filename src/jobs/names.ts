import { sha256 } from '../lib/hash.ts';

/** Kubernetes limits Job names to 63 characters, because they become a pod label. */
const MAX = 63;
const DIGEST = 10;

/**
 * The Job of one attempt. The same task and attempt give the same name for ever,
 * so a second create collides instead of running the work twice.
 */
export function jobName(task: { name: string; uid: string }, attempt: number): string {
  const digest = sha256(`${task.uid}/${attempt}`).slice(0, DIGEST);
  const stem = task.name.slice(0, MAX - DIGEST - 1).replace(/[^a-z0-9]+$/, '');
  return `${stem}-${digest}`;
}
