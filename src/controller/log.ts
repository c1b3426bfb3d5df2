import { createLogger, transports } from 'winston';
import type { Logger as WinstonLogger } from 'winston';

const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFields = Readonly<Record<string, unknown>>;

/** Messages are constants; everything variable is a field. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Guards the building of costly debug fields. */
  isDebugEnabled(): boolean;
  child(fields: LogFields): Log;
  /** Resolves when everything logged so far has reached the stream, or after two seconds. */
  flush(): Promise<void>;
}

export interface LogOptions {
  /** @default LOG_LEVEL of the environment, else `info` */
  readonly level?: string;
  /** @default text on a terminal, else json */
  readonly format?: 'json' | 'text' | undefined;
  readonly stream?: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/** Where winston's transports look for the rendered line. */
const MESSAGE: unique symbol = Symbol.for('message');
const MAX_FIELD_CHARS = 8192;
const FLUSH_MS = 2000;

interface Entry {
  level: string;
  message: string;
  fields?: LogFields;
  [MESSAGE]?: string;
}

/** One JSON line (or one line of text on a terminal) per entry. */
export function createLog({
  level = process.env['LOG_LEVEL'] ?? 'info',
  stream = process.stdout,
  format = stream.isTTY ? 'text' : 'json',
}: LogOptions = {}): Log {
  const render = format === 'text' ? renderText : renderJson;
  const logger = createLogger({
    level: knownLevel(level),
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    // winston's type wants its own info shape; the transform only adds the rendered line to it.
    format: {
      transform(info) {
        const entry = info as unknown as Entry;
        entry[MESSAGE] = render(entry, new Date());
        return info;
      },
    },
    transports: [new transports.Stream({ stream, eol: '\n' })],
  });
  return bind(logger, stream, undefined);
}

/** A log that drops everything; for tests and for library use without output. */
export const silentLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  isDebugEnabled: () => false,
  child: () => silentLog,
  flush: () => Promise.resolve(),
};

function bind(logger: WinstonLogger, stream: NodeJS.WritableStream, bound: LogFields | undefined): Log {
  const write = (level: LogLevel, message: string, fields: LogFields | undefined): void => {
    if (!logger.isLevelEnabled(level)) return;
    logger.write({ level, message, fields: bound && fields ? { ...bound, ...fields } : (fields ?? bound) });
  };
  return {
    debug: (message, fields) => write('debug', message, fields),
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
    isDebugEnabled: () => logger.isLevelEnabled('debug'),
    child: (fields) => bind(logger, stream, { ...bound, ...fields }),
    flush: () => flush(stream),
  };
}

function knownLevel(level: string): LogLevel {
  const known = LOG_LEVELS.find((candidate) => candidate === level.toLowerCase());
  if (!known)
    throw new Error(`LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}: current value is "${level}"`);
  return known;
}

async function flush(stream: NodeJS.WritableStream): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, FLUSH_MS);
    stream.write('', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function renderJson({ level, message, fields }: Entry, now: Date): string {
  const line = { time: now.toISOString(), level, message, ...fields };
  line.level = level; // no field may pass itself off as the level or the message
  line.message = message;
  try {
    return JSON.stringify(line, readable);
  } catch (error) {
    return JSON.stringify({ time: line.time, level, message, logError: String(error) });
  }
}

function renderText({ level, message, fields }: Entry, now: Date): string {
  const time = now.toISOString().slice(11, 23);
  const tail = Object.entries(fields ?? {})
    .map(([key, value]) => ` ${key}=${textOf(value)}`)
    .join('');
  return printable(`${time} ${level.toUpperCase().padEnd(5)} ${message}${tail}`);
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return /^[\w./:@-]+$/.test(value) ? value : JSON.stringify(value);
  try {
    return JSON.stringify(value, readable) ?? String(value);
  } catch (error) {
    return `(unprintable: ${String(error)})`;
  }
}

/** Control characters from tenants' strings must not steer a terminal. */
function printable(line: string): string {
  return line.replace(/\p{Cc}/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Makes errors and oversized strings fit for a line. */
function readable(_key: string, value: unknown): unknown {
  if (value instanceof Error) return describeError(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string' && value.length > MAX_FIELD_CHARS)
    return `${value.slice(0, MAX_FIELD_CHARS)}...`;
  return value;
}

function describeError(error: Error): Record<string, unknown> {
  const code: unknown = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(error.cause === undefined ? {} : { cause: error.cause }),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
  };
}
