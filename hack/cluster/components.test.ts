import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { COMPONENTS, GO_MODULES, KUBERNETES_VERSION, buildArgs, cacheKey } from './components.ts';

const sources = { mod: 'module m', sum: 'h1:abc' };

describe('components', () => {
  it('keeps the cache key for equal sources and changes it with each of them', () => {
    const key = cacheKey(COMPONENTS.runc, sources);
    assert.equal(cacheKey(COMPONENTS.runc, { ...sources }), key);
    assert.match(key, /^runc-[0-9a-f]{16}$/);
    const others = [
      cacheKey(COMPONENTS.runc, { ...sources, mod: 'module n' }),
      cacheKey(COMPONENTS.runc, { ...sources, sum: 'h1:abd' }),
      cacheKey({ ...COMPONENTS.runc, tags: [] }, sources),
      cacheKey({ ...COMPONENTS.runc, cgo: false }, sources),
      cacheKey({ ...COMPONENTS.runc, ldflags: ['-X a=b'] }, sources),
    ];
    assert.equal(new Set([key, ...others]).size, 6);
  });

  it('builds runc with seccomp, without which every pod fails', () => {
    assert.deepEqual(buildArgs(COMPONENTS.runc, 'bin/runc'), [
      'build',
      '-mod=readonly',
      '-trimpath',
      '-buildvcs=false',
      '-tags',
      'seccomp',
      '-ldflags',
      '-s -w',
      '-o',
      'bin/runc',
      'github.com/opencontainers/runc',
    ]);
  });

  it('stamps the Kubernetes version that the module pins', async () => {
    const mod = await readFile(join(GO_MODULES, 'kubernetes/go.mod'), 'utf8');
    assert.ok(
      mod.includes(`require k8s.io/kubernetes ${KUBERNETES_VERSION}`) ||
        mod.includes(`\tk8s.io/kubernetes ${KUBERNETES_VERSION}`),
    );
    assert.ok(
      COMPONENTS.kubernetes.ldflags.includes(
        `-X k8s.io/component-base/version.gitVersion=${KUBERNETES_VERSION}`,
      ),
    );
    assert.ok(COMPONENTS.kubernetes.ldflags.includes('-X k8s.io/component-base/version.gitMinor=36'));
  });

  for (const component of Object.values(COMPONENTS)) {
    it(`pins every package of ${component.name} as a tool of its module`, async () => {
      const mod = await readFile(join(GO_MODULES, component.name, 'go.mod'), 'utf8');
      for (const path of Object.values(component.binaries))
        assert.ok(mod.includes(path), `${path} is no tool of ${component.name}`);
    });
  }
});
