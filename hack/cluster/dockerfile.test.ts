import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { dockerfileInputs, fullName, ignoring } from './dockerfile.ts';

describe('dockerfileInputs', () => {
  const cases: Readonly<
    Record<string, { file: string; args?: Record<string, string>; bases: string[]; sources?: string[] }>
  > = {
    'a plain FROM': { file: 'FROM debian:12-slim\n', bases: ['debian:12-slim'] },
    'an ARG with its default': { file: 'ARG BASE=debian:12\nFROM ${BASE} AS a\n', bases: ['debian:12'] },
    'an ARG that the command line sets': {
      file: 'ARG BASE="debian:12"\nFROM $BASE\n',
      args: { BASE: 'own:1' },
      bases: ['own:1'],
    },
    'stages, which are no bases': {
      file: 'FROM --platform=linux/amd64 node:24 AS build\nFROM build AS more\nFROM scratch\nCOPY --from=build /a /b\nCOPY --from=0 /a /c\n',
      bases: ['node:24'],
    },
    'an image that COPY takes from': {
      file: 'FROM scratch\nCOPY --from=tools:1 /a /b\n',
      bases: ['tools:1'],
    },
    'sources of COPY and ADD, not URLs': {
      file: 'FROM a\n# COPY no no\nCOPY --chown=1:1 x.txt \\\n  dir/ /to/\nADD ["y z.txt", "/to"]\nADD https://example.com/f /f\n',
      bases: ['a'],
      sources: ['x.txt', 'dir/', 'y z.txt'],
    },
  };
  for (const [name, { file, args = {}, bases, sources = [] }] of Object.entries(cases)) {
    it(`sees ${name}`, () => assert.deepEqual(dockerfileInputs(file, args), { bases, sources }));
  }
});

describe('ignoring', () => {
  it('lets the last matching pattern decide, also for what lies below it', () => {
    const ignored = ignoring('# comment\nnode_modules\n**/*.log\n!keep.log\n/dist/\n');
    const paths = ['node_modules/a/b.js', 'x/y.log', 'keep.log', 'dist/a', 'src/a.ts'];
    assert.deepEqual(
      paths.map((path) => ignored(path)),
      [true, true, false, true, false],
    );
  });
});

describe('fullName', () => {
  const cases: Readonly<Record<string, string>> = {
    it: 'docker.io/library/it:latest',
    'it:dev': 'docker.io/library/it:dev',
    'org/it:dev': 'docker.io/org/it:dev',
    'localhost/it:dev': 'localhost/it:dev',
    'registry.example:5000/it': 'registry.example:5000/it:latest',
    'gcr.io/a/b@sha256:00': 'gcr.io/a/b@sha256:00',
  };
  for (const [short, full] of Object.entries(cases)) {
    it(`makes ${full} of ${short}`, () => assert.equal(fullName(short), full));
  }
});
