import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { ROOT } from '../gen/files.ts';

/** Rows of the matrix by family, and the invariants. */
const MATRIX: Readonly<Record<string, readonly [first: number, last: number]>> = {
  A: [1, 8],
  B: [1, 8],
  C: [1, 8],
  D: [1, 12],
  E: [1, 6],
  F: [1, 11],
  G: [1, 14],
  H: [1, 10],
  J: [0, 11],
};
const INVARIANTS = 20;

const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

/** A title begins with its id: of a row, a suite of rows, the plans of a row, or a suite of scenarios. */
const TITLES = [
  /\b(?:row|describe|atOnce|idOf)\(\s*['"`](?<id>[A-Z]\d+)(?=[ /'"`])/g,
  /(?:^|[{,])\s*['"](?<id>[A-Z]\d+) [^\n]*['"]: [A-Z_]+\b/gm,
];
const text = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const tests = globSync('test/{faults,e2e,kueue}/**/*.test.ts', { cwd: ROOT }).map(text);
const titled = new Set(
  tests.flatMap((source) =>
    TITLES.flatMap((title) => [...source.matchAll(title)].map(({ groups }) => groups?.['id'] ?? '')),
  ),
);

const doc = text('docs/reliability.md');
/** The lines of the table that follows a text, without its head. */
function tableAfter(heading: string): readonly (readonly string[])[] {
  const from = doc.indexOf(heading);
  assert.ok(from >= 0, `docs/reliability.md lacks "${heading}"`);
  const lines = doc.slice(from).split('\n');
  const start = lines.findIndex((line) => line.startsWith('|---'));
  const length = lines.slice(start + 1).findIndex((line) => !line.startsWith('|'));
  const rows = length < 0 ? lines.slice(start + 1) : lines.slice(start + 1, start + 1 + length);
  return rows.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}
const PLACES = tableAfter('## Rows and their tests');
const REASONS = tableAfter('What a row might be thought to show');
const CHECKS = tableAfter('## Invariants');
const explained = new Set(REASONS.flatMap(([part = '', reason]) => (reason ? idsIn(part) : [])));

/** `G1-G4, H7/deadline` names five rows. */
function idsIn(cell: string): string[] {
  return [...cell.matchAll(/\b(?<family>[A-JOPS])(?<first>\d+)(?:-\k<family>(?<last>\d+))?/g)].flatMap(
    ({ groups }) => {
      const { family = '', first = '', last = first } = groups ?? {};
      return range(Number(first), Number(last)).map((number) => `${family}${number}`);
    },
  );
}

const filesIn = (cells: readonly string[]): string[] =>
  cells.flatMap((cell) => [...cell.matchAll(/`((?:src|test|hack)\/[^`*]+)`/g)].map(([, file = '']) => file));

describe('the fault matrix', () => {
  for (const [family, [first, last]] of Object.entries(MATRIX))
    for (const number of range(first, last)) {
      const id = `${family}${number}`;
      it(`${id} is a test, or docs/reliability.md says why not`, () => {
        assert.ok(
          titled.has(id) || explained.has(id),
          `no title of a test begins with ${id}, and no reason is given`,
        );
        const inPlaces = PLACES.some(([rows = '']) => idsIn(rows).includes(id));
        assert.ok(inPlaces, `the table "Rows and their tests" does not say where ${id} is`);
      });
    }

  it('is documented with files that exist and contain a row of the family', () => {
    for (const [rows = '', , files = ''] of PLACES)
      for (const file of filesIn([files])) {
        assert.ok(existsSync(join(ROOT, file)), `${file} does not exist`);
        const [family = ''] = rows;
        assert.match(text(file), new RegExp(`['"\`]${family}\\d+`), `${file} has no row ${family}`);
      }
  });
});

describe('the invariants', () => {
  for (const number of range(1, INVARIANTS)) {
    const id = `I${number}`;
    it(`${id} is checked, and docs/reliability.md says where`, () => {
      const lines = CHECKS.filter(([name]) => name === id);
      assert.equal(lines.length, 1, `the table of invariants has ${lines.length} lines for ${id}`);
      const [, what = '', where = ''] = lines[0] ?? [];
      assert.ok(what.length > 20, 'it says what holds');
      const [files, rows] = [filesIn([where]), idsIn(where).filter((row) => !row.startsWith('O'))];
      assert.ok(
        where.startsWith('oracle') || files.length > 0 || rows.length > 0,
        'it says where it is checked',
      );
      for (const file of files) assert.ok(existsSync(join(ROOT, file)), `${file} does not exist`);
      for (const row of rows) assert.ok(titled.has(row), `no title of a test begins with ${row}`);
    });
  }

  it('that an oracle checks are named by one', () => {
    const rig = globSync('test/faults/rig/*.ts', { cwd: ROOT }).map(text).join('\n');
    for (const [id = '', , where = ''] of CHECKS) {
      if (!where.startsWith('oracle')) continue;
      const name = /^oracle \((O\d+)/.exec(where)?.[1] ?? id;
      assert.ok(rig.includes(`\`${name} `), `no oracle says "${name} ..."`);
    }
  });
});
