import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, describe, it } from 'mocha';
import { parse } from 'yaml';
import { z } from 'zod';
import { type StandIn, startStandIn } from '../../hack/elsi-stand-in/server.ts';
import { rootOf } from '../../src/elsi/http.ts';

/*
 * The contract of ELSI as this project relies on it, stated as black-box tests. Without a configuration they run against
 * the stand-in; `make elsi-contract CONFIG=file` points them at any ELSI. The file names a directory with client_id and
 * client_secret, so that the secret is in no command line, and one task that may be changed.
 */
const configSchema = z.strictObject({
  baseUrl: z.url(),
  credentialsDirectory: z.string(),
  scratchTask: z.uuid().describe('uid of a task whose status and estimated duration may be changed'),
});
type Config = z.output<typeof configSchema>;

const SCRATCH = '4f5c1fa2-0d52-4d0b-8b0d-7a8f3f9f5f11';
const UNKNOWN = '00000000-0000-4000-8000-00000000dead';
const TASKS = '/api/analytics/services/tasks';

const item = z.looseObject({
  task_uid: z.string(),
  model_name: z.string(),
  status_label: z.string(),
  dataset_uid_label: z.string(),
});

describe('the contract of ELSI', () => {
  let config: Config;
  let standIn: StandIn | undefined;
  let token: string;

  const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    fetch(`${rootOf(config.baseUrl)}${path}`, {
      method,
      headers: { accept: 'application/json', ...headers },
      redirect: 'manual',
      signal: AbortSignal.timeout(15_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const asJson = { 'content-type': 'application/json' };
  const authorized = () => ({ authorization: `Bearer ${token}` });
  const secret = (name: string) => readFileSync(join(config.credentialsDirectory, name), 'utf8').trim();
  const login = (client_secret = secret('client_secret')) =>
    call('POST', '/api/auth/login-service', { client_id: secret('client_id'), client_secret }, asJson);
  const get = async () =>
    item.parse(await (await call('GET', `${TASKS}/${config.scratchTask}`, undefined, authorized())).json());
  const put = (body: unknown) =>
    call('PUT', `${TASKS}/${config.scratchTask}`, body, { ...asJson, ...authorized() });

  before(async () => {
    const file = process.env['ELSI_CONTRACT_CONFIG'];
    if (file) config = configSchema.parse(parse(readFileSync(file, 'utf8')));
    else {
      standIn = await startStandIn({ clientId: 'lab', clientSecret: 'not a secret' });
      standIn.add({
        task_uid: SCRATCH,
        model_name: 'vtc',
        dataset_uid_label: 'corpus_d34200f0-8b2c-4a6f-9a53-1f0b52a4c9d1',
      });
      const credentialsDirectory = mkdtempSync(join(tmpdir(), 'elsi-'));
      writeFileSync(join(credentialsDirectory, 'client_id'), 'lab\n');
      writeFileSync(join(credentialsDirectory, 'client_secret'), 'not a secret\n');
      config = { baseUrl: `${standIn.url}/api`, credentialsDirectory, scratchTask: SCRATCH };
    }
    const answer = z.object({ access_token: z.string().min(1), expires_in: z.number() });
    token = answer.parse(await (await login()).json()).access_token;
  });
  after(() => standIn?.close());

  it('a login with the right secret answers a token and its lifetime in seconds', async () => {
    assert.equal((await login()).status, 200);
  });

  it('a login with a wrong secret is refused with 401', async () => {
    assert.equal((await login('wrong')).status, 401);
  });

  it('a call without a token is refused with 401', async () => {
    assert.equal((await call('GET', TASKS)).status, 401);
  });

  it('a call with an unknown token is refused with 401', async () => {
    assert.equal((await call('GET', TASKS, undefined, { authorization: 'Bearer nothing' })).status, 401);
  });

  it('the list is one JSON array of all tasks', async () => {
    const answer = await call('GET', TASKS, undefined, authorized());
    assert.equal(answer.status, 200);
    const items = z.array(item).parse(await answer.json());
    assert.ok(items.some(({ task_uid: uid }) => uid === config.scratchTask));
  });

  it('one task is answered by its uid', async () => {
    assert.equal((await get()).task_uid, config.scratchTask);
  });

  it('an unknown uid is answered with 404', async () => {
    assert.equal((await call('GET', `${TASKS}/${UNKNOWN}`, undefined, authorized())).status, 404);
    const body = { status: 'RUNNING' };
    assert.equal(
      (await call('PUT', `${TASKS}/${UNKNOWN}`, body, { ...asJson, ...authorized() })).status,
      404,
    );
  });

  it('an empty change is refused', async () => {
    assert.equal((await put({})).status, 400);
  });

  for (const status of ['RUNNING', 'COMPLETED', 'FAILED', 'RUNNING', 'PENDING'])
    it(`${status} is stored and shown again, whatever it was before`, async () => {
      const answer = await put({ status, estimated_duration: 7 });
      assert.equal(answer.status, 200);
      assert.equal(item.parse(await answer.json()).status_label.toUpperCase(), status);
      assert.equal((await get()).status_label.toUpperCase(), status);
    });
});
