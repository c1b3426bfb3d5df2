import { Counter, Gauge, type Registry } from 'prom-client';

/** What elsi-sync tells about itself. Labels come from closed sets only. */
export interface SyncMetrics {
  answered(method: string, code: string): void;
  polled(result: 'success' | 'error', items?: number): void;
  /** Items of the last list that cannot be worked on. */
  rejected(items: number): void;
  did(action: string): void;
  failed(action: string): void;
  /** Ends that ELSI does not show yet, and for how long the oldest has been waiting. */
  backlog(ends: number, oldestSeconds: number): void;
}

export function createSyncMetrics(registry: Registry): SyncMetrics {
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[]) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const answers = counter(
    'elsi_requests_total',
    'Requests to ELSI by status code; <error> without an answer.',
    ['method', 'code'],
  );
  const polls = counter('elsi_polls_total', 'Rounds by result.', ['result']);
  const lastPoll = gauge('elsi_last_successful_poll_timestamp_seconds', 'When the last whole list arrived.');
  const items = gauge('elsi_listed_tasks', 'Items of the last list.');
  const bad = gauge('elsi_rejected_tasks', 'Items of the last list that cannot be worked on.');
  const actions = counter('elsi_actions_total', 'What was done, by kind.', ['action']);
  const failures = counter(
    'elsi_action_failures_total',
    'What could not be done and is tried again, by kind.',
    ['action'],
  );
  const ends = gauge('elsi_unreported_ends', 'Finished tasks whose end ELSI does not show yet.');
  const oldest = gauge('elsi_oldest_unreported_end_seconds', 'Age of the oldest of them.');
  return {
    answered: (method, code) => answers.inc({ method, code }),
    polled(result, count) {
      polls.inc({ result });
      if (result !== 'success') return;
      lastPoll.setToCurrentTime();
      items.set(count ?? 0);
    },
    rejected: (count) => bad.set(count),
    did: (action) => actions.inc({ action }),
    failed: (action) => failures.inc({ action }),
    backlog(count, oldestSeconds) {
      ends.set(count);
      oldest.set(oldestSeconds);
    },
  };
}
