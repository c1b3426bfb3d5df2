import { connect, createServer, type Socket } from 'node:net';
import { freePort } from '../../../hack/cluster/wait.ts';

/** A TCP line to etcd that can stop carrying anything while it stays connected. */
export interface EtcdLine {
  readonly port: number;
  freeze(): void;
  thaw(): void;
  close(): void;
}

interface Connection {
  readonly near: Socket;
  readonly far: Socket;
  /** Frames that were kept back, each with the end that it is for. */
  readonly held: { readonly to: Socket; readonly frame: Buffer }[];
}

/**
 * The line speaks just enough HTTP/2 to answer the keep-alive pings of the API server while it is frozen: without
 * answers the API server would notice after some 40 s and throw its cache away.
 */
export async function startEtcdLine(etcdPort: number): Promise<EtcdLine> {
  const connections = new Set<Connection>();
  let frozen = false;
  const server = createServer((near) => {
    const far = connect(etcdPort, '127.0.0.1');
    const connection: Connection = { near, far, held: [] };
    connections.add(connection);
    const carry = (to: Socket, frame: Buffer): void => {
      if (!frozen) to.write(frame);
      else if (to === far && isPing(frame)) near.write(answerTo(frame));
      else connection.held.push({ to, frame });
    };
    const [requests, answers] = [new Framer(PREFACE_BYTES), new Framer(0)];
    near.on('data', (chunk: Buffer) => requests.push(chunk).forEach((frame) => carry(far, frame)));
    far.on('data', (chunk: Buffer) => answers.push(chunk).forEach((frame) => carry(near, frame)));
    const end = (): void => {
      connections.delete(connection);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.once('close', end).on('error', end);
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port,
    freeze: () => {
      frozen = true;
    },
    thaw: () => {
      frozen = false;
      for (const { held } of connections) for (const { to, frame } of held.splice(0)) to.write(frame);
    },
    close: () => {
      for (const { near } of connections) near.destroy();
      server.close();
    },
  };
}

/** What a client sends before its first frame (RFC 9113, 3.4). */
const PREFACE_BYTES = 24;
/** Length (3 bytes), type, flags, stream (4 bytes). */
const HEADER_BYTES = 9;
const PING = 6;
const ACK = 1;

/** Cuts what arrives into whole frames, so that nothing is ever inserted in the middle of one. */
class Framer {
  #rest: Buffer = Buffer.alloc(0);
  #preface: number;

  constructor(preface: number) {
    this.#preface = preface;
  }

  push(chunk: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const frames: Buffer[] = [];
    for (let frame = this.#next(); frame; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next(): Buffer | undefined {
    const bytes = this.#preface || this.#frameBytes();
    if (bytes === undefined || this.#rest.length < bytes) return undefined;
    const frame = this.#rest.subarray(0, bytes);
    this.#rest = this.#rest.subarray(bytes);
    this.#preface = 0;
    return frame;
  }

  #frameBytes(): number | undefined {
    return this.#rest.length < HEADER_BYTES ? undefined : HEADER_BYTES + this.#rest.readUIntBE(0, 3);
  }
}

const isPing = (frame: Buffer): boolean => frame[3] === PING && frame[4] === 0;

function answerTo(ping: Buffer): Buffer {
  const answer = Buffer.from(ping);
  answer[4] = ACK;
  return answer;
}
