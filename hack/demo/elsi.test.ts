import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { AuditEntry } from '../elsi-stand-in/store.ts';
import { toldDifferences, wordsTold } from './elsi.ts';

describe('what ELSI was told', () => {
  const puts = (...statuses: readonly string[]): AuditEntry[] =>
    statuses.map((status) => ({ at: '', uid: 'a', before: '', status }));

  const table: Readonly<Record<string, { puts: AuditEntry[]; wanted: string[]; right: boolean }>> = {
    'is right in order, repeated or not': {
      puts: puts('RUNNING', 'RUNNING', 'COMPLETED', 'COMPLETED'),
      wanted: ['RUNNING', 'COMPLETED'],
      right: true,
    },
    'may lack RUNNING': { puts: puts('COMPLETED'), wanted: ['RUNNING', 'COMPLETED'], right: true },
    'is wrong with another end': {
      puts: puts('RUNNING', 'FAILED'),
      wanted: ['RUNNING', 'COMPLETED'],
      right: false,
    },
    'is wrong with two ends': {
      puts: puts('RUNNING', 'COMPLETED', 'FAILED'),
      wanted: ['RUNNING', 'COMPLETED'],
      right: false,
    },
    'is wrong where it goes back': {
      puts: puts('COMPLETED', 'RUNNING'),
      wanted: ['RUNNING', 'COMPLETED'],
      right: false,
    },
    'is wrong where nothing was told': { puts: [], wanted: ['FAILED'], right: false },
  };
  for (const [sentence, { puts: audit, wanted, right }] of Object.entries(table))
    it(sentence, () => {
      const others: AuditEntry = { at: '', uid: 'b', before: '', status: 'FAILED' };
      const told = wordsTold([others, ...audit], 'a');
      assert.equal(toldDifferences(wanted, told).length, right ? 0 : 1, told.join());
    });
});
