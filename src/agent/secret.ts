import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';

const LEAST_CHARS = 16;

/**
 * The secrets in a mounted file, one per line, the newest first; read again for every request, so that a rotation
 * needs no restart. Both lines are valid while it is under way. Throws when there is none of at least 16 characters.
 */
export async function readSecrets(file: string): Promise<string[]> {
  const secrets = (await readFile(file, 'utf8'))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.length >= LEAST_CHARS);
  if (secrets.length > 0) return secrets;
  throw new Error(
    `${file} holds no secret of at least ${LEAST_CHARS} characters: write one, for example of openssl rand -hex 32`,
  );
}

/** Whether an Authorization header carries one of the secrets; takes the same time for every wrong one. */
export function isAuthorised(header: string | undefined, secrets: readonly string[]): boolean {
  const given = digest(/^Bearer +(\S+) *$/i.exec(header ?? '')?.[1] ?? '');
  return secrets.map((secret) => timingSafeEqual(digest(secret), given)).includes(true);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
