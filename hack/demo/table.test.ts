import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Seen } from './observe.ts';
import { createLive, renderTable } from './table.ts';
import { demoTasks } from './tasks.ts';

const tasks = demoTasks(1, []).slice(0, 2);
const [first] = tasks.map(({ name }) => name);

function states(phase: 'Pending' | 'Running'): ReadonlyMap<string, Seen> {
  const seen: Seen = { name: first ?? '', model: 'm', created: 1000, status: { phase } };
  return new Map([[seen.name, seen]]);
}

function record(isTTY: boolean): {
  readonly text: () => string;
  readonly live: ReturnType<typeof createLive>;
} {
  let text = '';
  const live = createLive(tasks, { isTTY, columns: 80, write: (part) => (text += part), now: () => 4000 });
  return { text: () => text, live };
}

describe('the live view', () => {
  it('writes one line per task and change where there is no terminal', () => {
    const { text, live } = record(false);
    live.show(states('Pending'));
    live.show(states('Pending'));
    live.show(states('Running'));
    assert.deepEqual(
      text()
        .split('\n')
        .filter((line) => line.includes('speech-turns')),
      ['  speech-turns-1: Pending (3 s)', '  speech-turns-1: Running (3 s)'],
    );
  });

  it('redraws the table in place on a terminal', () => {
    const { text, live } = record(true);
    live.show(states('Pending'));
    live.show(states('Running'));
    assert.equal(text().split('\u001B[3A').length, 2);
  });

  it('never draws a line wider than the terminal', () => {
    const lines = renderTable([['x'.repeat(90), 'm', 'Pending', 'ModelNotFound', '', '3']], 79);
    assert.ok(lines.every((line) => line.length <= 79));
  });
});
