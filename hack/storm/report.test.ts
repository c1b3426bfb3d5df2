import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { reportLines, stormReport, summaryLine } from './report.ts';

const REPORT = stormReport.parse({
  seed: 7,
  minutes: 60,
  tasks: 2,
  faultEverySeconds: 60,
  people: [
    { way: 'kubectl', behaviour: 'slow', hand: 'cancel', hasCallback: true },
    { way: 'elsi', behaviour: 'good', hasCallback: false },
  ],
  struck: [9, 2, 3].map((recoverySeconds) => ({ target: 'etcd', how: 'kill', recoverySeconds })),
  ends: { 'Succeeded/Published': 1, 'Cancelled/Cancelled': 1 },
  attempts: 3,
  deliveries: 4,
  puts: 2,
  violations: [],
});

describe('the report of a storm', () => {
  it('says how to have it again, who asked for what, how it ended and what died', () => {
    const text = reportLines(REPORT).join('\n');
    assert.match(text, /make storm ARGS="--seed 7 --minutes 60 --tasks 2 --fault-every 60"/);
    assert.match(text, /2 tasks: 1 by kubectl \(1 with a callback\), 1 by ELSI; .*: 1 cancel\./);
    assert.match(text, /\| Succeeded\/Published \| 1 \|/);
    assert.match(text, /\| etcd: kill \| 3 \| 3, 9 \|/);
  });

  it('shows what was found', () => {
    const bad = { ...REPORT, violations: ['a task is lost'] };
    assert.match(reportLines(bad).join('\n'), /\*\*a task is lost\*\*/);
    assert.equal(summaryLine(bad), 'storm: seed 7, 60 min, 2 tasks, 3 faults, 1 violations');
  });
});
