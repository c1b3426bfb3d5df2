import { z } from 'zod';
import { CALLBACK_EVENT_NAMES } from '../api/callbacks.ts';

const endpoint = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
      .refine((url) => URL.canParse(url) && new URL(url).username === '', 'must not hold a user or password')
      .describe('where events are POSTed'),
    secretDirectory: z
      .string()
      .min(1)
      .describe(
        'directory with the file secret (whsec_...) and, while it is rotated, previous (a mounted Secret)',
      ),
    events: z
      .array(z.enum(CALLBACK_EVENT_NAMES))
      .min(1)
      .default(['succeeded', 'partiallySucceeded', 'failed', 'cancelled'])
      .describe('events that are sent'),
    namespaces: z
      .array(z.string().min(1))
      .default([])
      .describe('namespaces whose tasks may name it; empty means all'),
    allowHttp: z.boolean().default(false).describe('accept a URL without TLS'),
    allowPrivateAddresses: z
      .boolean()
      .default(false)
      .describe(
        'accept receivers inside the cluster or on this machine; metadata services are never accepted',
      ),
    caFile: z
      .string()
      .optional()
      .describe('PEM of a private certificate authority that signed its certificate'),
    timeoutSeconds: z.int().min(1).max(60).default(15).describe('for one delivery and its answer'),
    giveUpAfterSeconds: z
      .int()
      .min(1)
      .max(2_592_000)
      .default(86_400)
      .describe('how long an event is tried again before it is given up'),
  })
  .refine(({ url, allowHttp }) => allowHttp || url.startsWith('https:'), {
    path: ['url'],
    error: 'must begin with https: (set allowHttp for a receiver without TLS)',
  });

export type Endpoint = z.output<typeof endpoint>;

/** Endpoints by the name under which tasks ask for them. */
export const callbackSettings = z
  .record(
    z
      .string()
      .max(63)
      .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/),
    endpoint,
  )
  .default({})
  .describe('callback endpoints by name, as tasks name them in spec.callbacks');
