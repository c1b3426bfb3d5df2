import type { AnalysisTask } from '../api/objects.ts';
import { TASKS } from '../api/resources.ts';
import { parseTask } from '../api/seen.ts';
import { resourceClient } from '../controller/client.ts';
import { loadClusterConfig } from '../controller/kube-config.ts';
import type { KubeObject } from '../controller/resources.ts';
import { createTransport } from '../controller/transport.ts';
import { version } from '../version.ts';

export interface ReadOptions {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly signal: AbortSignal;
}

/** Reads one AnalysisTask from the cluster. Throws when there is none. */
export async function readTask(
  ref: { readonly namespace: string; readonly name: string },
  { kubeconfig, context, signal }: ReadOptions,
): Promise<AnalysisTask> {
  const connection = await loadClusterConfig({ kubeconfig, context });
  const transport = createTransport(connection, { userAgent: `analysis-operator/${version} (callbacks)` });
  try {
    const raw = await resourceClient<KubeObject>(transport, TASKS).get(ref, { signal });
    if (raw) return parseTask(raw);
    throw new Error(`there is no AnalysisTask ${ref.namespace}/${ref.name}`);
  } finally {
    await transport.close();
  }
}
