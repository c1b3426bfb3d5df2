/** A known bug: how to plant it, and the row that has to find it. */
export interface Mutant {
  readonly name: string;
  /** What is broken, in words. */
  readonly breaks: string;
  readonly row: string;
  /** After this a recovery counts as failed; longer where even the right program takes longer. @default 30 000 */
  readonly recoveryMs?: number;
  readonly edits: readonly Edit[];
}

/** `find` stands exactly once in the file; a mutant that no longer fits its source is an error, not a survivor. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}
