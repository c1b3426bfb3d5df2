/**
 * The wire protocol of Redis as its server sees it: commands come in as arrays of bulk strings, replies go out in
 * version 2 or 3 of the protocol. Pure. Everything that a client can make grow has a bound.
 */

/** What was received is no command. Nothing after it on the connection can be understood. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

const MAX_ARGUMENTS = 64;
/** Bytes of all arguments of a command together. */
export const MAX_COMMAND_BYTES = 1024 * 1024;
const MAX_HEADER_BYTES = 16;
const CR = 13;
const LF = 10;

/** Takes commands out of a stream of bytes, however it is cut into chunks. */
export class CommandReader {
  /** The header that is being received. */
  #header = '';
  /** Arguments that the command still lacks, and those that it has. */
  #lacking = 0;
  #arguments: string[] = [];
  #budget = MAX_COMMAND_BYTES;
  /** The argument that is being received, with the line end behind it. */
  #bulk: { readonly bytes: Buffer; filled: number } | undefined;

  /** The commands that end in this chunk. Throws ProtocolError, after those that came before the fault. */
  *read(chunk: Buffer): Generator<readonly string[]> {
    for (let at = 0; at < chunk.length; ) {
      at = this.#bulk === undefined ? this.#takeHeader(chunk, at) : this.#takeBulk(this.#bulk, chunk, at);
      if (this.#lacking > 0 || this.#arguments.length === 0) continue;
      const command = this.#arguments;
      this.#arguments = [];
      yield command;
    }
  }

  #takeHeader(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(LF, from);
    const to = end < 0 ? chunk.length : end + 1;
    this.#header += chunk.toString('latin1', from, Math.min(to, from + MAX_HEADER_BYTES + 1));
    if (this.#header.length > MAX_HEADER_BYTES) throw unexpected(this.#header);
    if (end < 0) return to;
    const header = this.#header;
    this.#header = '';
    if (this.#lacking === 0) this.#beginCommand(header);
    else this.#beginBulk(header);
    return to;
  }

  #beginCommand(header: string): void {
    const count = numberAfter('*', header);
    if (count > MAX_ARGUMENTS)
      throw new ProtocolError(`a command has ${count} arguments; at most ${MAX_ARGUMENTS} are taken`);
    this.#lacking = count;
    this.#budget = MAX_COMMAND_BYTES;
  }

  #beginBulk(header: string): void {
    const length = numberAfter('$', header);
    if (length > this.#budget)
      throw new ProtocolError(
        `a command is longer than ${MAX_COMMAND_BYTES} bytes, which is all that is taken`,
      );
    this.#budget -= length;
    this.#bulk = { bytes: Buffer.alloc(length + 2), filled: 0 };
  }

  #takeBulk(bulk: { readonly bytes: Buffer; filled: number }, chunk: Buffer, from: number): number {
    const copied = chunk.copy(bulk.bytes, bulk.filled, from);
    bulk.filled += copied;
    const length = bulk.bytes.length - 2;
    if (bulk.filled === bulk.bytes.length) {
      if (bulk.bytes[length] !== CR || bulk.bytes[length + 1] !== LF)
        throw new ProtocolError('an argument is longer than its header says');
      this.#arguments.push(bulk.bytes.toString('utf8', 0, length));
      this.#lacking--;
      this.#bulk = undefined;
    }
    return from + copied;
  }
}

function numberAfter(mark: '*' | '$', header: string): number {
  const digits = /^.(\d{1,10})\r\n$/.exec(header)?.[1];
  if (digits === undefined || !header.startsWith(mark)) throw unexpected(header, mark);
  return Number(digits);
}

function unexpected(header: string, mark = '*" or "$'): ProtocolError {
  return new ProtocolError(`expected "${mark}" and a number, not ${JSON.stringify(header)}`);
}

/** Version of the protocol that a connection speaks. */
export type Version = 2 | 3;

/** What a server answers. A string is a bulk string, null is "no such thing". */
export type Reply =
  | string
  | number
  | null
  | readonly Reply[]
  | { readonly is: 'status'; readonly text: string }
  /** The code is the first word, by which clients tell errors apart. */
  | { readonly is: 'error'; readonly code: 'ERR' | 'NOPROTO'; readonly text: string }
  /** What in version 2 is an array: pairs, and what nobody asked for. */
  | { readonly is: 'map' | 'push'; readonly items: readonly Reply[] };

export const OK: Reply = { is: 'status', text: 'OK' };

export function error(text: string, code: 'ERR' | 'NOPROTO' = 'ERR'): Reply {
  return { is: 'error', code, text };
}

/** The bytes of a reply, as text. */
export function encode(reply: Reply, version: Version): string {
  if (reply === null) return version === 3 ? '_\r\n' : '$-1\r\n';
  if (typeof reply === 'number') return `:${reply}\r\n`;
  if (typeof reply === 'string') return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`;
  if (!('is' in reply)) return list('*', reply.length, reply, version);
  switch (reply.is) {
    case 'status':
      return `+${oneLine(reply.text)}\r\n`;
    case 'error':
      return `-${reply.code} ${oneLine(reply.text)}\r\n`;
    case 'map':
      return version === 3
        ? list('%', reply.items.length / 2, reply.items, version)
        : encode(reply.items, version);
    case 'push':
      return list(version === 3 ? '>' : '*', reply.items.length, reply.items, version);
  }
}

function list(mark: string, count: number, items: readonly Reply[], version: Version): string {
  return `${mark}${count}\r\n${items.map((item) => encode(item, version)).join('')}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/[\r\n]+/g, ' ');
}
