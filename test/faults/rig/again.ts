import { controlPlane, expectOk } from '../../support/control-plane.ts';
import { eventually } from '../../support/eventually.ts';
import type { Operator } from '../../support/operator.ts';
import { RECOVERY_MS, type World } from './world.ts';

/**
 * Makes an operator look at its tasks again and waits until it has: then "it did nothing" means that it decided to.
 * The store's claim is touched for that, which concerns every task of the namespace that the operator knows.
 */
export async function looksAgain({ lab }: World, operator: Operator, passes = 8): Promise<void> {
  const path = lab.path('persistentvolumeclaims/datasets');
  const touch = async (): Promise<void> => {
    const body = { metadata: { annotations: { touched: String(performance.now()) } } };
    const contentType = 'application/merge-patch+json';
    expectOk(await controlPlane().api.call('PATCH', path, { body, contentType }));
  };
  const goal = (await operator.passes()) + passes;
  await eventually(
    'the operator looks again',
    async () => {
      if ((await operator.passes()) >= goal) return true;
      await touch();
      return undefined;
    },
    RECOVERY_MS,
  );
}
