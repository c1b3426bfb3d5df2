import { describe, it } from 'mocha';
import assert from 'node:assert/strict';
import { AgentFailure, exitCodeOf, isMissing, toFailure } from './failure.ts';

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: no, write '/store/x'`), { code });
}

describe('toFailure()', () => {
  const cases: Record<string, readonly [error: unknown, exitCode: number, message: RegExp]> = {
    'a full volume': [systemError('ENOSPC'), 13, /the volume is full: free space/],
    'a used-up quota': [systemError('EDQUOT'), 13, /raise the quota/],
    'a read-only volume': [systemError('EROFS'), 13, /read-only/],
    'a broken disk': [systemError('EIO'), 13, /check the volume/],
    'a stale handle': [systemError('ESTALE'), 13, /stale handle/],
    'a missing permission': [systemError('EACCES'), 13, /give its uid or gid write permission.*\/store\/x/],
    'a missing file that nobody expected': [
      systemError('ENOENT'),
      14,
      /unexpected error in the agent: ENOENT/,
    ],
    'a mistake of ours': [new TypeError('x is undefined'), 14, /please report it/],
    'something that is no error': ['text', 14, /text/],
    'an inherited name as a code': [systemError('constructor'), 14, /unexpected/],
    'a failure': [new AgentFailure('OutputConflict', 'taken: choose another'), 43, /^taken: choose another$/],
  };
  for (const [sentence, [error, exitCode, message]] of Object.entries(cases)) {
    it(`maps ${sentence} to exit code ${exitCode}`, () => {
      const failure = toFailure(error);
      assert.equal(exitCodeOf(failure.category), exitCode);
      assert.match(failure.message, message);
    });
  }

  it('takes a file in place of a directory as missing', () => {
    assert.deepEqual(
      ['ENOENT', 'ENOTDIR', 'EIO'].map((code) => isMissing(systemError(code))),
      [true, true, false],
    );
  });
});
