import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Where Debian packages come from. */
export type DebianMirror = {
  readonly main: string;
  /** The text of a sources.list for bookworm with updates and security. */
  readonly sources: string;
};

/** The mirror that this machine's own apt uses. Throws when its sources name none. */
export async function readDebianMirror(): Promise<DebianMirror> {
  const folder = '/etc/apt/sources.list.d';
  const files = (await readdir(folder).catch(() => [])).map((name) => join(folder, name));
  const texts = await Promise.all(
    ['/etc/apt/sources.list', ...files].map((file) => readFile(file, 'utf8').catch(() => '')),
  );
  return debianMirror(texts.join('\n'));
}

/** Finds the Debian archive and its security archive in apt source files, old style or deb822. Throws without one. */
export function debianMirror(text: string): DebianMirror {
  const lines = text.split('\n').filter((line) => !/^\s*#/.test(line));
  const urls = lines
    .flatMap((line) => line.match(/\b(?:https?|file):\/\/\S+/g) ?? [])
    .map((url) => url.replace(/\/+$/, ''));
  const main = urls.find((url) => url.endsWith('/debian'));
  if (main === undefined) {
    throw new Error(
      "this machine's apt sources name no Debian archive (a URL that ends in /debian): add one to /etc/apt/sources.list, the base images are made from it",
    );
  }
  const security = urls.find((url) => url.endsWith('/debian-security')) ?? `${main}-security`;
  const sources = [
    `deb ${main} bookworm main`,
    `deb ${main} bookworm-updates main`,
    `deb ${security} bookworm-security main`,
    '',
  ];
  return { main, sources: sources.join('\n') };
}
