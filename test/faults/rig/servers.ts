import assert from 'node:assert/strict';
import { z } from 'zod';
import { controlPlane } from '../../support/control-plane.ts';

/** What can happen to the control plane itself. Its clients are every row of this process: leave it as it was. */

const answered = z.looseObject({ header: z.looseObject({ revision: z.string() }) });

/** Makes etcd forget everything but what is now. */
export async function compactEtcd(): Promise<void> {
  const { revision } = answered.parse(await etcd('range', { key: 'AA==' })).header;
  await etcd('compaction', { revision, physical: true });
}

async function etcd(what: string, body: object): Promise<unknown> {
  const url = `http://127.0.0.1:${pieces().layout.ports.etcd}/v3/kv/${what}`;
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text);
}

export const killApiServer = (): Promise<void> => pieces().stopPiece('kube-apiserver', 'SIGKILL');
export const startApiServer = (): Promise<void> => pieces().startPiece('kube-apiserver');

function pieces() {
  const { pieces: own } = controlPlane();
  if (!own) throw new Error('this row needs a control plane of its own');
  return own;
}
