import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createMissingBook } from './missing.ts';

describe('createMissingBook()', () => {
  const listing = (...named: string[]) => ({ named: new Set(named), items: named.length });
  const EMPTY = { named: new Set<string>(), items: 0 };
  type List = ReturnType<typeof listing>;
  const rows: readonly (readonly [string, readonly List[], readonly string[]])[] = [
    ['believes no single list', [listing('a', 'b'), listing('b')], []],
    [
      'believes the third in a row',
      [listing('a', 'b'), ...Array.from({ length: 3 }, () => listing('b'))],
      ['a'],
    ],
    [
      'counts anew after a list that has it',
      [listing('b'), listing('b'), listing('a', 'b'), listing('b')],
      [],
    ],
    ['does not count a list that lost most of its items', [listing('a', 'b', 'c'), EMPTY, EMPTY, EMPTY], []],
    ['believes an empty list that stays', [listing('a', 'b'), EMPTY, EMPTY, EMPTY, EMPTY], ['a', 'b']],
  ];
  for (const [title, lists, expected] of rows)
    it(title, () => {
      const book = createMissingBook();
      const missing = lists.map((list) => book.note(list, ['a', 'b']));
      assert.deepEqual([...(missing.at(-1) ?? [])], expected);
    });
});
