import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { AddressError, checkedAddresses, pinned } from './addresses.ts';

const never = ['169.254.169.254', '[fe80::1]', '0.0.0.0', '[::]', '224.0.0.1', '[::ffff:169.254.169.254]'];
const inside = [
  '127.0.0.1',
  '10.0.0.1',
  '192.168.1.1',
  '100.64.0.1',
  '[::1]',
  '[fd00::1]',
  '[::ffff:10.0.0.1]',
  'localhost',
];
const outside = ['8.8.8.8', '[2606:4700::1111]'];

describe('checkedAddresses()', () => {
  for (const host of never)
    it(`never accepts ${host}`, () => assert.rejects(checkedAddresses(host, true), AddressError));
  for (const host of inside)
    it(`accepts ${host} only where it is allowed`, async () => {
      await assert.rejects(checkedAddresses(host, false), AddressError);
      assert.ok((await checkedAddresses(host, true)).length > 0);
    });
  for (const host of outside)
    it(`accepts ${host}`, async () => assert.equal((await checkedAddresses(host, false)).length, 1));

  it('reads an address in any spelling', async () => {
    await assert.rejects(
      checkedAddresses(new URL('http://2130706433/').hostname, false),
      /127\.0\.0\.1, a loopback/,
    );
  });
});

describe('pinned()', () => {
  it('answers what was checked, whatever the name resolves to by now', () => {
    pinned([{ address: '8.8.8.8', family: 4 }])('evil.example', { all: true }, (error, found) => {
      assert.equal(error, null);
      assert.deepEqual(found, [{ address: '8.8.8.8', family: 4 }]);
    });
  });
});
