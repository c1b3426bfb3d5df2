import { before, describe, it } from 'mocha';
import { mapBounded } from '../../../src/lib/concurrent.ts';

/** Scenarios under way at once: pods wait for each other less than each waits for itself. */
const LIMIT = 10;

type Scenario = () => Promise<void>;
/** Each is one test, named by its key. */
export type Scenarios = Readonly<Record<string, Scenario>>;

/** A suite of suites whose scenarios all begin together; each test waits for the end of its own. */
export function atOnce(title: string, suites: Readonly<Record<string, Scenarios>>): void {
  const rows = Object.entries(suites).map(([suite, scenarios]) => ({
    suite,
    tests: Object.entries(scenarios).map(([name, scenario]) => ({
      name,
      scenario,
      result: Promise.withResolvers<void>(),
    })),
  }));
  describe(title, () => {
    before(() => {
      const all = rows.flatMap(({ tests }) => tests);
      for (const { result } of all) result.promise.catch(() => undefined); // told by its own test
      void mapBounded(all, LIMIT, ({ scenario, result }) => scenario().then(result.resolve, result.reject));
    });
    for (const { suite, tests } of rows)
      describe(suite, () => {
        for (const { name, result } of tests) it(name, () => result.promise);
      });
  });
}

/** Scenarios that build on each other: each begins when the one before it has succeeded. `last` is done in any case. */
export function inTurn(steps: Scenarios, last: Scenario): Scenarios {
  const entries = Object.entries(steps);
  const ends = entries.map(() => Promise.withResolvers<void>());
  for (const { promise } of ends) promise.catch(() => undefined);
  const step = async (index: number, scenario: Scenario): Promise<void> => {
    await ends[index - 1]?.promise;
    await scenario();
  };
  return Object.fromEntries(
    entries.map(([name, scenario], index) => [
      name,
      async () => {
        const end = ends[index];
        const result = step(index, scenario);
        await result.then(end?.resolve, end?.reject);
        if (index === entries.length - 1) await last();
        await result;
      },
    ]),
  );
}
