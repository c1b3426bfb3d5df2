import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { configKeys, loadConfig } from './config.ts';
import { ConfigError } from './lib/settings.ts';

function file(content: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'config-')), 'config.yaml');
  writeFileSync(path, content);
  return path;
}

const minimal = 'store: {claimName: datasets}\nagent: {image: operator:1}\n';

describe('loadConfig()', () => {
  it('fills in every default of a minimal file', () => {
    const config = loadConfig(file(minimal), {});
    assert.equal(config.store.claimName, 'datasets');
    assert.deepEqual(config.identity, { runAsUser: 1000, runAsGroup: 1000 });
    assert.equal(config.leaderElection.leaseDurationSeconds, 15);
  });

  it('lets the environment override single keys', () => {
    const config = loadConfig(file(minimal), {
      ANALYSIS_STORE_CLAIM_NAME: 'other',
      ANALYSIS_IDENTITY_RUN_AS_USER: '1234',
      ANALYSIS_NAMESPACES: '[a, b]',
    });
    assert.equal(config.store.claimName, 'other');
    assert.equal(config.identity.runAsUser, 1234);
    assert.deepEqual(config.namespaces, ['a', 'b']);
  });

  const refused: Record<string, { given: string; expected: RegExp[] }> = {
    'reports all problems at once': {
      given: 'store: {}\nagent: {image: ""}\nconcurrency: many\n',
      expected: [/store\.claimName/, /agent\.image/, /concurrency/, /3 problem/],
    },
    'names a key that does not exist': { given: `${minimal}allowtags: true\n`, expected: [/allowtags/] },
    'refuses a lease that two replicas could hold': {
      given: `${minimal}leaderElection: {leaseDurationSeconds: 5}\n`,
      expected: [/leaderElection\.leaseDurationSeconds/, /renewDeadlineSeconds \(10\)/],
    },
    'refuses a file that is no mapping': { given: '- a\n', expected: [/mapping/] },
    'refuses a store agent without a URL or a secret': {
      given: `${minimal}storeAgent: {urlTemplate: "store-agent:9809"}\n`,
      expected: [/storeAgent\.urlTemplate: "store-agent:9809" is no http/, /storeAgent\.tokenFile/],
    },
    'refuses root as the identity of tasks': {
      given: `${minimal}identity: {runAsUser: 0}\n`,
      expected: [/identity\.runAsUser/],
    },
  };
  for (const [name, { given, expected }] of Object.entries(refused)) {
    it(name, () => {
      assert.throws(
        () => loadConfig(file(given), {}),
        (error) => error instanceof ConfigError && expected.every((pattern) => pattern.test(error.message)),
      );
    });
  }

  it('says which file cannot be read', () => {
    assert.throws(
      () => loadConfig('/nowhere/config.yaml', {}),
      /Cannot read the configuration file \/nowhere\/config\.yaml/,
    );
  });
});

describe('configKeys()', () => {
  it('describes every key, so that --help leaves none out', () => {
    const undescribed = configKeys().filter(({ schema }) => !schema.description);
    assert.deepEqual(
      undescribed.map(({ path }) => path.join('.')),
      [],
    );
  });
});
