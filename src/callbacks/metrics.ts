import { Counter, type Registry } from 'prom-client';
import type { Answer } from './send.ts';

/** Deliveries by endpoint (a closed set: the configuration's) and result. */
export interface CallbackMetrics {
  attempted(endpoint: string, result: Answer['is']): void;
}

export function createCallbackMetrics(registry: Registry): CallbackMetrics {
  const attempts = new Counter({
    name: 'analysis_callback_attempts_total',
    help: 'Deliveries of events to callback endpoints, by endpoint and result.',
    labelNames: ['endpoint', 'result'],
    registers: [registry],
  });
  return { attempted: (endpoint, result) => attempts.inc({ endpoint, result }) };
}
