import process from 'node:process';

/*
 * Loaded before an operator (`--import`), so that its wall clock is wrong or jumps. Only Date is shifted: timers and
 * performance.now() stay, as they do when somebody sets the clock of a real machine. OpenSSL, which judges the validity
 * of certificates, keeps the true time.
 *   CLOCK_SHIFT_MS  from the start
 *   CLOCK_JUMP_MS   more, at each SIGUSR2
 */
const RealDate = Date;
let shiftMs = Number(process.env['CLOCK_SHIFT_MS'] ?? 0);
const now = (): number => RealDate.now() + shiftMs;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: unknown[]): Date => Reflect.construct(target, args.length === 0 ? [now()] : args),
  get: (target, key): unknown => (key === 'now' ? now : Reflect.get(target, key)),
});

process.on('SIGUSR2', () => {
  shiftMs += Number(process.env['CLOCK_JUMP_MS'] ?? 0);
  console.error(`The clock jumped; it is off by ${shiftMs} ms`);
});
