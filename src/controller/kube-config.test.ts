import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { loadClusterConfig } from './kube-config.ts';
import { createManualClock } from './testing/manual-clock.ts';

const KUBECONFIG = `
apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: one
  cluster: { server: "https://one.example:6443", certificate-authority-data: ${Buffer.from('CA').toString('base64')}, tls-server-name: kube }
- name: two
  cluster: { server: "http://two.example:8080", proxy-url: "http://proxy.example" }
contexts:
- name: lab
  context: { cluster: one, user: token, namespace: speech }
- name: proxied
  context: { cluster: two, user: token }
- name: broken
  context: { cluster: missing, user: token }
users:
- name: token
  user: { token: secret }
`;

describe('loadClusterConfig()', () => {
  let dir: string;
  const clock = createManualClock();
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kube-config-'));
    await writeFile(join(dir, 'config'), KUBECONFIG);
  });
  afterEach(() => rm(dir, { recursive: true }));

  async function aServiceAccount(): Promise<NodeJS.ProcessEnv> {
    for (const [name, text] of Object.entries({ token: 'one\n', 'ca.crt': 'CA', namespace: 'analysis\n' })) {
      await writeFile(join(dir, name), text);
    }
    return { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' };
  }

  it('takes the service account inside a cluster', async () => {
    const env = await aServiceAccount();
    const connection = await loadClusterConfig({ env, clock, serviceAccountDir: dir });
    assert.equal(connection.server, 'https://[fd00::1]:6443');
    assert.equal(connection.namespace, 'analysis');
    assert.deepEqual(await connection.credentials(), { token: 'one', ca: 'CA' });
  });

  it('reads a rotated token after a minute, or at once when asked', async () => {
    const connection = await loadClusterConfig({
      env: await aServiceAccount(),
      clock,
      serviceAccountDir: dir,
    });
    await writeFile(join(dir, 'token'), 'two');
    await clock.advance(59_000);
    assert.equal((await connection.credentials()).token, 'one');
    assert.equal((await connection.credentials({ fresh: true })).token, 'two');
    await writeFile(join(dir, 'token'), 'three');
    await clock.advance(60_000);
    assert.equal((await connection.credentials()).token, 'three');
  });

  it('goes on with the last token while the file cannot be read', async () => {
    const connection = await loadClusterConfig({
      env: await aServiceAccount(),
      clock,
      serviceAccountDir: dir,
    });
    await rm(join(dir, 'token'));
    assert.equal((await connection.credentials({ fresh: true })).token, 'one');
  });

  it('takes the current context of a kubeconfig', async () => {
    const connection = await loadClusterConfig({ kubeconfig: join(dir, 'config'), clock, env: {} });
    assert.deepEqual([connection.server, connection.namespace], ['https://one.example:6443', 'speech']);
    assert.deepEqual(await connection.credentials(), { ca: 'CA', servername: 'kube', token: 'secret' });
  });

  it('reads the tokenFile of a kubeconfig, beside it, and again when it is rotated', async () => {
    const file = join(dir, 'with-token-file');
    await writeFile(file, KUBECONFIG.replace('{ token: secret }', '{ tokenFile: token }'));
    await writeFile(join(dir, 'token'), 'one\n');
    const connection = await loadClusterConfig({ kubeconfig: file, clock, env: {} });
    assert.equal((await connection.credentials()).token, 'one');
    await writeFile(join(dir, 'token'), 'two\n');
    assert.equal((await connection.credentials({ fresh: true })).token, 'two');
    await writeFile(join(dir, 'token'), 'three\n');
    await clock.advance(60_000);
    assert.equal((await connection.credentials()).token, 'three');
  });

  it('prefers a kubeconfig that was asked for to the service account', async () => {
    const env = await aServiceAccount();
    const connection = await loadClusterConfig({
      kubeconfig: join(dir, 'config'),
      env,
      clock,
      serviceAccountDir: dir,
    });
    assert.equal(connection.namespace, 'speech');
  });

  const mistakes: Record<string, { context: string; text: RegExp }> = {
    'a context that is not there': {
      context: 'nowhere',
      text: /context "nowhere" does not exist.*found: lab, proxied, broken/,
    },
    'a context whose cluster is not there': {
      context: 'broken',
      text: /context "broken" .* names no cluster/,
    },
    'a proxy': { context: 'proxied', text: /cluster "two": proxy-url is not supported/ },
  };
  for (const [name, { context, text }] of Object.entries(mistakes)) {
    it(`names ${name}`, async () => {
      await assert.rejects(
        loadClusterConfig({ kubeconfig: join(dir, 'config'), context, env: {}, clock }),
        text,
      );
    });
  }
});
