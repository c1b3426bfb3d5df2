/** One connection to the queues of a pod: answers commands one by one, as Redis would. */
import { encode, error, OK, type Reply, type Version } from './resp.ts';
import type { Queues } from './worker-desk.ts';

/** What a command does with a connection; most give one reply. */
type Answer = (session: Session, args: readonly string[]) => readonly Reply[] | Promise<readonly Reply[]>;

interface Command {
  readonly least: number;
  readonly most: number;
  readonly answer: Answer;
}

const MANY = 63;
const MAX_CHANNELS = 64;

export class Session {
  readonly queues: Queues;
  version: Version = 2;
  readonly channels = new Set<string>();

  constructor(queues: Queues) {
    this.queues = queues;
  }

  /** The bytes that answer a command, as text. Never throws: what goes wrong is told to the client. */
  async answer([name = '', ...args]: readonly string[]): Promise<string> {
    const replies = await this.#replies(name, args).catch((problem: unknown): readonly Reply[] => [
      error(problem instanceof Error ? problem.message : String(problem)),
    ]);
    return replies.map((reply) => encode(reply, this.version)).join('');
  }

  async #replies(name: string, args: readonly string[]): Promise<readonly Reply[]> {
    const command = COMMANDS.get(name.toUpperCase());
    if (command === undefined)
      return [error(`unknown command '${name.slice(0, 64)}': here is the queue of one worker, not a Redis`)];
    if (args.length < command.least || args.length > command.most)
      return [error(`wrong number of arguments for '${name.toLowerCase()}' command`)];
    return command.answer(this, args);
  }
}

const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ['PING', { least: 0, most: 1, answer: ping }],
  ['HELLO', { least: 0, most: MANY, answer: hello }],
  ['CLIENT', { least: 1, most: MANY, answer: client }],
  ['SELECT', { least: 1, most: 1, answer: select }],
  ['RPOP', { least: 1, most: 1, answer: pop }],
  ['LPUSH', { least: 2, most: MANY, answer: push }],
  ['PUBLISH', { least: 2, most: 2, answer: publish }],
  ['SUBSCRIBE', { least: 1, most: MANY, answer: subscribe }],
  ['UNSUBSCRIBE', { least: 0, most: MANY, answer: unsubscribe }],
]);

function ping(session: Session, [text]: readonly string[]): readonly Reply[] {
  if (session.version === 2 && session.channels.size > 0) return [['pong', text ?? '']];
  return [text ?? { is: 'status', text: 'PONG' }];
}

/** Nobody outside the pod can connect, so there is nobody to tell apart: passwords are neither asked for nor checked. */
function hello(session: Session, [version = String(session.version)]: readonly string[]): readonly Reply[] {
  if (version !== '2' && version !== '3') return [error('unsupported protocol version', 'NOPROTO')];
  session.version = version === '3' ? 3 : 2;
  const facts: Readonly<Record<string, Reply>> = {
    server: 'redis',
    version: '7.0.0',
    proto: session.version,
    id: 1,
    mode: 'standalone',
    role: 'master',
    modules: [],
  };
  return [{ is: 'map', items: Object.entries(facts).flat() }];
}

function client(_session: Session, [what = '']: readonly string[]): readonly Reply[] {
  switch (what.toUpperCase()) {
    case 'SETINFO':
    case 'SETNAME':
      return [OK];
    case 'ID':
      return [1];
    default:
      return [error(`unknown subcommand '${what.slice(0, 64)}'`)];
  }
}

function select(_session: Session, [index]: readonly string[]): readonly Reply[] {
  return [index === '0' ? OK : error('DB index is out of range: there is only 0')];
}

async function pop({ queues }: Session, [queue = '']: readonly string[]): Promise<readonly Reply[]> {
  return [await queues.pop(queue)];
}

async function push(
  { queues }: Session,
  [queue = '', ...messages]: readonly string[],
): Promise<readonly Reply[]> {
  await queues.push(queue, messages);
  return [messages.length];
}

/** Nobody listens, as in the labs' own deployment. */
function publish({ queues }: Session, [channel = '', message = '']: readonly string[]): readonly Reply[] {
  queues.publish(channel, message);
  return [0];
}

function subscribe({ channels }: Session, names: readonly string[]): readonly Reply[] {
  return names.map((name) => {
    if (channels.size >= MAX_CHANNELS) return error(`at most ${MAX_CHANNELS} channels`);
    channels.add(name);
    return { is: 'push', items: ['subscribe', name, channels.size] };
  });
}

function unsubscribe({ channels }: Session, names: readonly string[]): readonly Reply[] {
  const leaving = names.length === 0 ? [...channels] : names;
  if (leaving.length === 0) return [{ is: 'push', items: ['unsubscribe', null, 0] }];
  return leaving.map((name) => {
    channels.delete(name);
    return { is: 'push', items: ['unsubscribe', name, channels.size] };
  });
}
