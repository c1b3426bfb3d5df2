import { before, it } from 'mocha';
import { mapBounded } from '../../../src/lib/concurrent.ts';

/** Scenarios under way at once: pods wait for each other less than each waits for itself. */
const LIMIT = 10;

type Scenario = () => Promise<void>;

/** One test per scenario, named by its key. All begin together; each test waits for the end of its own. */
export function atOnce(scenarios: Readonly<Record<string, Scenario>>): void {
  const results = new Map(Object.keys(scenarios).map((name) => [name, Promise.withResolvers<void>()]));
  before(() => {
    for (const { promise } of results.values()) promise.catch(() => undefined); // told by its own test
    void mapBounded(Object.entries(scenarios), LIMIT, async ([name, scenario]) => {
      const { resolve, reject } = results.get(name) ?? Promise.withResolvers<void>();
      await scenario().then(resolve, reject);
    });
  });
  for (const [name, { promise }] of results) it(name, () => promise);
}
