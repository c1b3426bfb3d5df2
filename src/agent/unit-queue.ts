import type { Unit } from './plan.ts';
import type { Plan } from './plan-file.ts';

/** The units of a plan that are to be run, in its order; one is in memory at a time. */
export class UnitQueue {
  readonly #plan: Plan;
  #source: AsyncGenerator<Unit> | undefined;
  #taken = 0;
  #first: Unit | undefined;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** The unit at the head of the queue; undefined at its end. After an error of the volume, the next call tries again. */
  async first(): Promise<Unit | undefined> {
    if (this.#first !== undefined) return this.#first;
    try {
      this.#source ??= await this.#open();
      this.#first = await nextRun(this.#source);
    } catch (error) {
      this.#source = undefined;
      throw error;
    }
    return this.#first;
  }

  async #open(): Promise<AsyncGenerator<Unit>> {
    const source = this.#plan.units();
    // oxlint-disable-next-line no-await-in-loop -- back to where it was
    for (let count = 0; count < this.#taken; count++) await nextRun(source);
    return source;
  }

  /** Takes the first unit out of the queue. */
  shift(): void {
    if (this.#first === undefined) return;
    this.#first = undefined;
    this.#taken++;
  }

  /** Closes the plan's file. */
  async close(): Promise<void> {
    await this.#source?.return(undefined);
  }
}

async function nextRun(source: AsyncGenerator<Unit>): Promise<Unit | undefined> {
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- one unit after the other
    const { value, done } = await source.next();
    if (done === true) return undefined;
    if (value.state === 'run') return value;
  }
}
