import type { Seen } from './observe.ts';
import type { DemoTask } from './tasks.ts';

const HEADER = ['TASK', 'MODEL', 'PHASE', 'REASON', 'DONE', 'SECONDS'] as const;

/** Cells of one task. */
export function cells(task: DemoTask, seen: Seen | undefined, now: number): readonly string[] {
  const status = seen?.status ?? {};
  const end = status.finishedAt === undefined ? now : Date.parse(status.finishedAt);
  const age = seen === undefined ? '' : String(Math.max(0, Math.round((end - seen.created) / 1000)));
  return [
    task.name,
    task.spec.model,
    status.phase ?? '-',
    status.reason === status.phase ? '' : (status.reason ?? ''),
    status.progress?.summary ?? '',
    age,
  ];
}

/** Aligned lines, header first, each cut at `width`. */
export function renderTable(rows: readonly (readonly string[])[], width: number): readonly string[] {
  const all = [HEADER, ...rows];
  const widths = HEADER.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
      .slice(0, width),
  );
}

/** A live view: a table redrawn in place on a terminal, else one line per task and change. */
export type Live = { readonly show: (seen: ReadonlyMap<string, Seen>) => void };

type Screen = {
  readonly isTTY: boolean;
  readonly columns: number;
  readonly write: (text: string) => void;
  readonly now: () => number;
};

export function createLive(tasks: readonly DemoTask[], screen: Screen): Live {
  return screen.isTTY ? redrawn(tasks, screen) : lineByLine(tasks, screen);
}

function redrawn(tasks: readonly DemoTask[], screen: Screen): Live {
  let drawn = 0;
  return {
    show: (seen) => {
      const rows = tasks.map((task) => cells(task, seen.get(task.name), screen.now()));
      const lines = renderTable(rows, screen.columns - 1);
      const up = drawn > 0 ? `\u001B[${drawn}A` : '';
      screen.write(`${up}${lines.map((line) => `\u001B[2K${line}\n`).join('')}`);
      drawn = lines.length;
    },
  };
}

function lineByLine(tasks: readonly DemoTask[], screen: Screen): Live {
  const last = new Map<string, string>();
  return {
    show: (seen) => {
      for (const task of tasks) {
        const [name = '', , phase = '', reason = '', done = '', age = ''] = cells(
          task,
          seen.get(task.name),
          screen.now(),
        );
        const state = [phase, reason, done].filter((part) => part !== '').join(' ');
        if (last.get(name) === state) continue;
        last.set(name, state);
        screen.write(`  ${name}: ${state}${age === '' ? '' : ` (${age} s)`}\n`);
      }
    },
  };
}
