import { EXIT } from '../api/request.ts';
import type { AgentReport } from '../api/request.ts';

export type AgentCategory = NonNullable<AgentReport['category']>;

const EXIT_OF: Readonly<Record<AgentCategory, number>> = {
  InvalidInput: EXIT.invalidInput,
  MissingOutput: EXIT.missingOutput,
  ModelError: EXIT.missingOutput,
  OutOfMemory: EXIT.missingOutput,
  Storage: EXIT.storage,
  OutputConflict: EXIT.outputConflict,
  AgentError: EXIT.internal,
};

/** An end of a step that a researcher or an administrator can act on. The message names the value and the fix. */
export class AgentFailure extends Error {
  override readonly name = 'AgentFailure';
  readonly category: AgentCategory;

  constructor(category: AgentCategory, message: string, options?: ErrorOptions) {
    super(message, options);
    this.category = category;
  }
}

/** Exit code of the step that ends with this category. */
export function exitCodeOf(category: AgentCategory): number {
  return EXIT_OF[category];
}

const STORAGE_HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'the volume is full: free space or enlarge the claim',
  EDQUOT: 'the quota of the volume is used up: free space or raise the quota',
  EROFS: 'the volume is mounted read-only: ask the administrator to repair or remount it',
  EIO: 'the storage reports input/output errors: ask the administrator to check the volume',
  ESTALE:
    'the network file system lost the file (stale handle): try again, or ask the administrator to check the server',
  ENOTCONN: 'the network file system is not connected: ask the administrator to check the server',
  EACCES: 'the user of the pod may not do this: give its uid or gid write permission on the dataset',
  EPERM: 'the user of the pod may not do this: give its uid or gid write permission on the dataset',
};

/** The `code` of a system error, or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Whether the store itself is at fault, rather than one file. */
export function isStorageError(error: unknown): boolean {
  const code = errorCode(error);
  return code !== undefined && Object.hasOwn(STORAGE_HINTS, code);
}

/** Maps whatever was thrown to the one failure that is reported. */
export function toFailure(error: unknown): AgentFailure {
  if (error instanceof AgentFailure) return error;
  const text = error instanceof Error ? error.message : String(error);
  const hint = isStorageError(error) ? STORAGE_HINTS[errorCode(error) ?? ''] : undefined;
  if (hint !== undefined) return new AgentFailure('Storage', `${hint} (${text})`, { cause: error });
  return new AgentFailure('AgentError', `unexpected error in the agent: ${text}; please report it`, {
    cause: error,
  });
}

/** A path as it stands in a message: quoted, without control characters. */
export function shown(path: string): string {
  return JSON.stringify(path);
}
