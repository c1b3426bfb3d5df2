import { z } from 'zod';
import type { Clock } from '../controller/clock.ts';
import { ElsiError } from './errors.ts';
import type { Exchange } from './http.ts';

/** Client id and secret of the service account at ELSI, read anew for every login so that a rotation needs no restart. */
export type Credentials = () => Promise<{ readonly clientId: string; readonly clientSecret: string }>;

export interface Session {
  /** A token that is not about to expire; logs in when there is none. One login at a time, whoever asks. */
  token(signal: AbortSignal): Promise<string>;
  /** ELSI refused this token: it is not used again. */
  refused(token: string): void;
}

const answer = z.object({ access_token: z.string().min(1).max(16_384), expires_in: z.unknown() });

/** A token is renewed when this share of its life is over. */
const SHARE = 0.8;
const SHORTEST_SECONDS = 5;
const LONGEST_SECONDS = 24 * 3600;
/** For an answer that gives no sensible lifetime. */
const UNKNOWN_SECONDS = 60;

/** Keeps one token. Times are counted from its receipt on a monotonic clock, so clocks may differ. */
export function createSession(exchange: Exchange, credentials: Credentials, clock: Clock): Session {
  let current: { readonly token: string; readonly renewAtMs: number } | undefined;
  let running: Promise<string> | undefined;

  const login = async (signal: AbortSignal): Promise<string> => {
    const { clientId, clientSecret } = await credentials();
    const body = { client_id: clientId, client_secret: clientSecret };
    const reply = await exchange({ method: 'POST', path: '/api/auth/login-service', body, signal });
    const { data } = answer.safeParse(reply);
    if (!data) throw new ElsiError('The login answered without an access_token: is base URL an ELSI?');
    const seconds = lifetime(data.expires_in);
    current = { token: data.access_token, renewAtMs: clock.monotonicMs() + seconds * SHARE * 1000 };
    return data.access_token;
  };

  return {
    token(signal) {
      if (current && clock.monotonicMs() < current.renewAtMs) return Promise.resolve(current.token);
      running ??= login(signal).finally(() => {
        running = undefined;
      });
      return running;
    },
    refused(token) {
      if (current?.token === token) current = undefined;
    },
  };
}

/** Seconds, whatever the answer says: text, nothing, nothing sensible or a century. */
export function lifetime(expiresIn: unknown): number {
  const seconds = typeof expiresIn === 'string' && expiresIn.trim() !== '' ? Number(expiresIn) : expiresIn;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds <= 0) return UNKNOWN_SECONDS;
  return Math.min(LONGEST_SECONDS, Math.max(SHORTEST_SECONDS, seconds));
}
