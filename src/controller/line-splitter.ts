const NEWLINE = 10;

/** A line grew beyond the bound. */
export class LineTooLongError extends Error {
  override readonly name = 'LineTooLongError';
}

/** Splits a byte stream on 0x0A alone: inside JSON every other line separator is data. */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #onLine: (line: string) => void;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number, onLine: (line: string) => void) {
    this.#maxBytes = maxBytes;
    this.#onLine = onLine;
  }

  /** Bytes of the unfinished line: above zero at the end of a stream means it was cut. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  /** Calls `onLine` for each line completed by this chunk; empty lines are skipped. */
  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#bound(end - start);
      const line =
        this.#bytes === 0 ? chunk.toString('utf8', start, end) : this.#join(chunk.subarray(start, end));
      start = end + 1;
      if (line !== '') this.#onLine(line);
    }
    if (start === chunk.length) return;
    this.#bound(chunk.length - start);
    this.#parts.push(chunk.subarray(start));
    this.#bytes += chunk.length - start;
  }

  #join(last: Buffer): string {
    const line = Buffer.concat([...this.#parts, last]).toString('utf8');
    this.#parts = [];
    this.#bytes = 0;
    return line;
  }

  #bound(added: number): void {
    if (this.#bytes + added > this.#maxBytes) {
      throw new LineTooLongError(`A line of the stream has more than ${this.#maxBytes} bytes`);
    }
  }
}
