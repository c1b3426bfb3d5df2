import { z } from 'zod';

/** What the receiver keeps of an event whose signature it has verified. */
export const verified = z.object({
  id: z.string(),
  type: z.string(),
  sequence: z.string(),
  data: z.object({ task: z.object({ name: z.string() }), phase: z.string().optional() }),
});
export type Received = z.output<typeof verified>;
