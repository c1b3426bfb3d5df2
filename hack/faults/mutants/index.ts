import { AGENT_MUTANTS } from './agent.ts';
import { ATTEMPT_MUTANTS } from './attempts.ts';
import { CALLBACK_MUTANTS } from './callbacks.ts';
import { ELSI_MUTANTS } from './elsi.ts';
import type { Mutant } from './mutant.ts';
import { PROTOCOL_MUTANTS } from './protocol.ts';
import { RUNTIME_MUTANTS } from './runtime.ts';

/** Every known bug that a row has to find. */
export const MUTANTS: readonly Mutant[] = [
  ...PROTOCOL_MUTANTS,
  ...AGENT_MUTANTS,
  ...ATTEMPT_MUTANTS,
  ...RUNTIME_MUTANTS,
  ...CALLBACK_MUTANTS,
  ...ELSI_MUTANTS,
];
