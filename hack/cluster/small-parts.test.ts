import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { libraryPaths } from './base-images.ts';
import { buildProblem } from './build.ts';
import { pipConfiguration } from './buildah.ts';
import { firstServiceIp } from './credentials.ts';
import { debianMirror } from './debian-mirror.ts';
import { fakeNode } from './kwok.ts';
import { mountsBelow } from './native-down.ts';
import { masqueradeRules } from './network.ts';
import { renderExtensions } from './pki.ts';
import { goProblem } from './prerequisites.ts';
import { createProgress, stamp } from './progress.ts';
import { networksOf } from './settings.ts';

describe('parts of the cluster', () => {
  it('finds mounts below a folder innermost first, with blanks, and not those of a sibling', () => {
    const line = (path: string): string => `36 35 98:0 / ${path} rw,noatime - ext4 /dev/x rw`;
    const mountinfo = ['/', '/s', '/s/a', '/s/a/b\\040c', '/sibling/x'].map(line).join('\n');
    assert.deepEqual(mountsBelow(mountinfo, '/s'), ['/s/a/b c', '/s/a']);
  });

  it('finds the libraries and the loader that ldd names, not the kernel page', () => {
    const ldd =
      '\tlinux-vdso.so.1 (0x1)\n\tlibm.so.6 => /lib/x/libm.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n';
    assert.deepEqual(libraryPaths(ldd), ['/lib/x/libm.so.6', '/lib64/ld-linux-x86-64.so.2']);
  });

  const mirrors: Readonly<Record<string, readonly [string, string]>> = {
    'old style': ['deb http://m.example/debian bookworm main\n', 'http://m.example/debian'],
    deb822: ['Types: deb\nURIs: https://m.example/debian/\nSuites: bookworm\n', 'https://m.example/debian'],
  };
  const mirrorless: Readonly<Record<string, string>> = {
    'commented out': '# deb http://m.example/debian bookworm main\n',
    'none for Debian': 'deb https://other.example/apt stable main\n',
  };
  for (const [name, text] of Object.entries(mirrorless)) {
    it(`says what is missing in a source list: ${name}`, () =>
      assert.throws(() => debianMirror(text), /add one to \/etc\/apt\/sources\.list/));
  }
  for (const [name, [text, main]] of Object.entries(mirrors)) {
    it(`takes the mirror from a source list: ${name}`, () => assert.equal(debianMirror(text).main, main));
  }

  const goes: Readonly<Record<string, readonly [string, string, RegExp | undefined]>> = {
    'a new Go will do': ['go1.26.8', 'local', undefined],
    'an older one that may fetch a newer one will do': ['go1.22.1', 'auto', undefined],
    'an older one that may not will not': ['go1.25.0', 'local', /go1\.25\.0/],
    'one before toolchains will not': ['go1.19', '', /go1\.19/],
    'no release will not': ['devel', 'auto', /devel/],
  };
  for (const [name, [version, toolchain, problem]] of Object.entries(goes)) {
    it(name, () => {
      const found = goProblem(version, toolchain);
      if (problem === undefined) assert.equal(found, undefined);
      else assert.match(found ?? '', problem);
    });
  }

  it('says that the module proxy is out of reach when that is why a build failed', () => {
    assert.match(
      buildProblem('go: a@v1: Get "http://p": dial tcp 127.0.0.1:1: connect: connection refused'),
      /^the Go module proxy/,
    );
    assert.doesNotMatch(buildProblem('x.go:1: undefined: y'), /proxy/);
  });

  it('gives clusters of other names other networks', () => {
    assert.deepEqual(networksOf('analysis-operator'), {
      podCidr: '10.244.0.0/24',
      serviceCidr: '10.96.0.0/16',
      bridge: 'ao0',
    });
    assert.notDeepEqual(networksOf('second'), networksOf('analysis-operator'));
    assert.equal(firstServiceIp('10.96.0.0/16'), '10.96.0.1');
  });

  it('masquerades what leaves the pod network, in a table that a repeat replaces', () => {
    const settings = { ...networksOf('second'), name: 'my-second' };
    const rules = masqueradeRules(settings);
    assert.match(rules, /delete table ip my_second\n/);
    assert.match(rules, /ip saddr 10\.244\.\d+\.0\/24 ip daddr != 10\.244\.\d+\.0\/24 masquerade/);
  });

  it('makes a server certificate only when there are names to serve', () => {
    assert.match(
      renderExtensions({ name: 'a', ca: 'ca', commonName: 'a', sans: ['IP:10.0.0.1'] }),
      /serverAuth[^]*subjectAltName=IP:10\.0\.0\.1/,
    );
    assert.doesNotMatch(
      renderExtensions({ name: 'a', ca: 'ca', commonName: 'a' }),
      /serverAuth|subjectAltName/,
    );
  });

  it('taints fake nodes so that no pod lands there unasked', () => {
    assert.match(
      JSON.stringify(fakeNode(1, 8)),
      /"taints":\[\{"key":"kwok\.x-k8s\.io\/node","value":"fake","effect":"NoSchedule"\}\]/,
    );
    assert.match(JSON.stringify(fakeNode(1, 8)), /"nvidia\.com\/gpu":"8"/);
  });

  it('tells pip about the CA bundle, and about an index only if there is one', () => {
    assert.equal(pipConfiguration(undefined), '[global]\ncert = /run/ca.pem\n');
    assert.match(
      pipConfiguration('https://i.example/simple'),
      /\nindex-url = https:\/\/i\.example\/simple\n$/,
    );
  });

  it('stamps lines with seconds in a column, and repeats a long step', async () => {
    assert.equal(stamp(12_340), '[  12.3s]');
    const lines: string[] = [];
    const progress = createProgress({ heartbeatMs: 5, write: (line) => lines.push(line) });
    await progress.step('building', () => new Promise((resolve) => setTimeout(resolve, 40)));
    assert.match(lines[0] ?? '', /building \.\.\.$/);
    assert.match(lines[1] ?? '', /still building/);
  });
});
