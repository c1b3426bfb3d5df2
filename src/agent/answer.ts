/**
 * Answers one question of the controller, in a process of its own: a hanging volume, a dataset of millions of files or
 * a costly pattern then takes a process that can be killed, and not the store agent.
 */
import { z } from 'zod';
import { agentRequest } from '../api/request.ts';
import { sweepRequest } from '../api/store.ts';
import type { StoreQuestion } from '../api/store.ts';
import { toFailure } from './failure.ts';
import { survey } from './survey.ts';
import { listStaging, removeStaging } from './sweep.ts';

/** What the process prints: an answer, or why there is none. `asker` says that the question itself was wrong. */
export const answerOutput = z.union([
  z.object({ answer: z.unknown() }),
  z.object({ error: z.string(), asker: z.boolean() }),
]);
export type AnswerOutput = z.infer<typeof answerOutput>;

export interface AnswerOptions {
  readonly storeRoot: string;
  /** Time for long work, after which an incomplete answer is given. */
  readonly milliseconds: number;
  /** Nothing that was written to within this time is swept. */
  readonly leastIdleSeconds: number;
}

/** Never throws. */
export async function answerQuestion(
  question: StoreQuestion,
  body: string,
  options: AnswerOptions,
): Promise<AnswerOutput> {
  try {
    return { answer: await answer(question, JSON.parse(body), options) };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError)
      return { error: `the question is not understood: ${error.message.slice(0, 500)}`, asker: true };
    return { error: toFailure(error).message.slice(0, 900), asker: false };
  }
}

function answer(question: StoreQuestion, body: unknown, options: AnswerOptions): Promise<unknown> {
  const { storeRoot, milliseconds, leastIdleSeconds } = options;
  const limits = { until: performance.now() + milliseconds, leastIdleSeconds };
  switch (question) {
    case 'survey':
      return survey(agentRequest.parse(body), storeRoot);
    case 'staging':
      return listStaging(storeRoot, limits);
    case 'sweep':
      return removeStaging(storeRoot, sweepRequest.parse(body), limits);
  }
}
