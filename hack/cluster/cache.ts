import { homedir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** The per-user folder for binaries, base images and build layers; it survives `down`. */
export function cacheDir(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const base =
    env.XDG_CACHE_HOME !== undefined && env.XDG_CACHE_HOME !== ''
      ? env.XDG_CACHE_HOME
      : join(homedir(), '.cache');
  return join(base, 'analysis-operator');
}
