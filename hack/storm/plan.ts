import fc from 'fast-check';

/*
 * What a storm is made of: people who ask for analyses in every way there is, and everything below them that dies, one
 * at a time. All of it follows from the seed.
 */

/** What can go wrong. Everything but `elsi`, `receiver` and `disk` is a program that is killed or stands still. */
export const TARGETS = [
  'controller',
  'elsi-sync',
  'kubelet',
  'containerd',
  'kube-apiserver',
  'etcd',
  'kube-controller-manager',
  'elsi',
  'receiver',
] as const;
export type Target = (typeof TARGETS)[number] | 'disk';

export interface PlannedFault {
  /** Since the start of the storm; a fault waits for the recovery from the one before. */
  readonly atSeconds: number;
  readonly target: Target;
  /** kill: SIGKILL. freeze: it stands still. refuse, hang, error: how a receiver or ELSI goes wrong. full: no space left. */
  readonly how: 'kill' | 'freeze' | 'refuse' | 'hang' | 'error' | 'full';
  /** Of everything but a kill. */
  readonly seconds: number;
}

/** How the model behaves, or what is wrong with the task. */
export const BEHAVIOURS = [
  'good',
  'slow',
  'partial',
  'fail',
  'nothing',
  'truncated',
  'oom',
  'late',
  'lost',
  'unknown',
] as const;
export type Behaviour = (typeof BEHAVIOURS)[number];

/** What somebody does with a task after they have asked for it. */
export interface Hand {
  readonly what: 'cancel' | 'delete' | 'suspend' | 'retry';
  /** Seconds after it was asked for; of `retry`: after its end. */
  readonly afterSeconds: number;
  /** Of `suspend`: seconds until it is to run again. */
  readonly forSeconds: number;
}

export interface PlannedTask {
  readonly atSeconds: number;
  readonly way: 'kubectl' | 'elsi';
  /** Of kubectl: the AnalysisTask. Of elsi: the uid of ELSI. */
  readonly name: string;
  readonly behaviour: Behaviour;
  /** How long a slow model works, or how late a dataset comes. */
  readonly seconds: number;
  readonly hasCallback: boolean;
  readonly hand: Hand | undefined;
}

export interface StormOptions {
  readonly seed: number;
  readonly minutes: number;
  readonly tasks: number;
  /** Mean pause between two faults. */
  readonly faultEverySeconds: number;
}

export interface StormPlan extends StormOptions {
  readonly people: readonly PlannedTask[];
  readonly faults: readonly PlannedFault[];
}

/** Seconds at the end of a storm in which nothing new begins. */
const CALM_SECONDS = 45;

export function planStorm(options: StormOptions): StormPlan {
  return { ...options, people: peopleOf(options), faults: faultsOf(options) };
}

/** The first `count` values; the same seed gives the same ones. */
function drawn<T>(arbitrary: fc.Arbitrary<T>, seed: number, count: number): T[] {
  return fc.sample(fc.noBias(arbitrary), { seed, numRuns: count });
}

const between = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });

/** Each target once per round, in an order of its own; the disk is full once, about the middle. */
function faultsOf({ seed, minutes, faultEverySeconds }: StormOptions): PlannedFault[] {
  const span = minutes * 60 - CALM_SECONDS;
  const count = Math.max(1, Math.floor(span / faultEverySeconds));
  const rounds = drawn(
    fc.shuffledSubarray([...TARGETS], { minLength: TARGETS.length }),
    seed,
    Math.ceil(count / TARGETS.length),
  );
  const targets: Target[] = rounds.flat().slice(0, count);
  targets.splice(Math.floor(count / 2), 1, 'disk');
  const jitter = drawn(between(-25, 25), seed + 1, count);
  const chance = drawn(fc.tuple(between(0, 99), between(0, 99)), seed + 2, count);
  return targets.map((target, index) => ({
    atSeconds: Math.round(faultEverySeconds * (index + 0.5 + (jitter[index] ?? 0) / 100)),
    target,
    ...manner(target, chance[index] ?? [0, 0]),
  }));
}

/** Longest that a program stands still, in seconds. The controller's is beyond its lease; kubelet's within the node's grace. */
const FREEZES: Readonly<Partial<Record<Target, number>>> = { controller: 30, 'elsi-sync': 30, kubelet: 25 };

function manner(
  target: Target,
  [kind, length]: readonly [number, number],
): Pick<PlannedFault, 'how' | 'seconds'> {
  if (target === 'disk') return { how: 'full', seconds: 60 };
  if (target === 'elsi' || target === 'receiver') {
    const how = (['refuse', 'hang', 'error'] as const)[kind % 3] ?? 'refuse';
    return { how, seconds: 10 + Math.round(length * 0.4) };
  }
  if (kind < 65) return { how: 'kill', seconds: 0 };
  const longest = FREEZES[target] ?? 12;
  return { how: 'freeze', seconds: Math.round(longest * (0.4 + (0.6 * length) / 99)) };
}

const behaviours = fc.oneof(
  { weight: 30, arbitrary: fc.constant<Behaviour>('good') },
  { weight: 30, arbitrary: fc.constant<Behaviour>('slow') },
  { weight: 10, arbitrary: fc.constant<Behaviour>('partial') },
  { weight: 6, arbitrary: fc.constant<Behaviour>('fail') },
  { weight: 8, arbitrary: fc.constantFrom<Behaviour[]>('nothing', 'truncated') },
  { weight: 5, arbitrary: fc.constant<Behaviour>('oom') },
  { weight: 9, arbitrary: fc.constant<Behaviour>('late') },
  { weight: 4, arbitrary: fc.constant<Behaviour>('lost') },
  { weight: 4, arbitrary: fc.constant<Behaviour>('unknown') },
);

const person = fc.record({
  jitter: between(0, 99),
  way: fc.constantFrom('kubectl' as const, 'kubectl' as const, 'elsi' as const),
  uid: fc.uuid({ version: 4 }),
  behaviour: behaviours,
  seconds: between(5, 40),
  hasCallback: fc.boolean(),
  does: between(0, 99),
  afterSeconds: between(0, 20),
  forSeconds: between(1, 30),
});

function peopleOf({ seed, minutes, tasks }: StormOptions): PlannedTask[] {
  const step = (minutes * 60 - CALM_SECONDS) / tasks;
  return drawn(person, seed + 3, tasks).map(
    ({ jitter, way, uid, behaviour, seconds, hasCallback, does, ...times }, index) => ({
      atSeconds: Math.round(step * (index + jitter / 100)),
      way,
      name: way === 'elsi' ? uid : `storm-${index + 1}`,
      behaviour,
      seconds,
      hasCallback: way === 'kubectl' && hasCallback,
      hand: handOf(way, behaviour, does, times),
    }),
  );
}

/** A third of those who wait long enough for it change their mind; in ELSI some ask again after a failure. */
function handOf(
  way: PlannedTask['way'],
  behaviour: Behaviour,
  does: number,
  times: Pick<Hand, 'afterSeconds' | 'forSeconds'>,
): Hand | undefined {
  if (way === 'elsi') return behaviour === 'fail' && does < 50 ? { what: 'retry', ...times } : undefined;
  if (behaviour !== 'slow' && behaviour !== 'late') return undefined;
  if (does < 12) return { what: 'cancel', ...times };
  if (does < 22) return { what: 'delete', ...times };
  return does < 34 ? { what: 'suspend', ...times } : undefined;
}
