import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Kube } from '../demo/kube.ts';
import { type DeployedPeer, deployPeer, PEER_PORT } from '../peers/deploy.ts';
import { type AuditEntry, auditEntry, type StoredTask, storedTask } from './store.ts';

/** A stand-in for ELSI in a cluster. */
export interface DeployedStandIn extends Pick<DeployedPeer, 'url' | 'ready'> {
  add(task: Pick<StoredTask, 'task_uid' | 'model_name' | 'dataset_uid_label'>): Promise<void>;
  tasks(): Promise<readonly StoredTask[]>;
  /** Every PUT that it has carried out. */
  audit(): Promise<readonly AuditEntry[]>;
}

const CLIENT_ID = 'analysis-operator';

/** With its credentials as the chart expects them. */
export async function deployStandIn(kube: Kube, namespace: string, image: string): Promise<DeployedStandIn> {
  const where = ['--host', '0.0.0.0', '--port', String(PEER_PORT), '--file', '/var/state/tasks.json'];
  const who = ['--client-id', CLIENT_ID, '--secret-file', '/etc/credentials/client_secret'];
  const peer = await deployPeer(kube, {
    peer: 'elsi-stand-in',
    namespace,
    image,
    args: [...where, ...who],
    secret: {
      name: 'elsi-credentials',
      values: () => ({ client_id: CLIENT_ID, client_secret: randomBytes(24).toString('base64') }),
    },
    probe: '/stand-in/tasks',
  });
  return {
    url: peer.url,
    ready: () => peer.ready(),
    add: (task) => peer.post('/stand-in/tasks', task),
    tasks: async () => z.array(storedTask).parse(await peer.get('/stand-in/tasks')),
    audit: async () => z.array(auditEntry).parse(await peer.get('/stand-in/audit')),
  };
}
