import process from 'node:process';
import type { Phase } from '../../../src/api/task.ts';

/** Recoveries wait for leases, backoff and Retry-After; later than this counts as lost. */
export const RECOVERY_MS = Number(process.env['FAULTS_RECOVERY_MS'] ?? 90_000);

/** How a task is to end. */
export type Expected = Phase | 'gone' | { readonly waits: string };
