import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createWrittenVersions } from './written.ts';

const copy = (uid: string, resourceVersion: string) => ({ metadata: { name: uid, uid, resourceVersion } });

describe('written versions', () => {
  it('a copy from before our own write is stale, one from after it is not', () => {
    const written = createWrittenVersions();
    written.note(copy('a', '7'));
    assert.equal(written.isStale(copy('a', '6')), true);
    assert.equal(written.isStale(copy('b', '6')), false);
    assert.equal(written.isStale(copy('a', '7')), false);
  });

  it('tasks that never come back are forgotten, the longest untouched first', () => {
    const written = createWrittenVersions(2);
    for (const uid of ['a', 'b', 'a', 'c']) written.note(copy(uid, '7'));
    assert.deepEqual(
      ['a', 'b', 'c'].map((uid) => written.isStale(copy(uid, '6'))),
      [true, false, true],
    );
  });
});
