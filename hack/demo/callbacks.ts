import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Received, verified } from '../callback-receiver/received.ts';
import { type DeployedPeer, deployPeer, PEER_PORT } from '../peers/deploy.ts';
import type { Kube } from './kube.ts';
import { SYSTEM_NAMESPACE } from './names.ts';
import type { DemoTask } from './tasks.ts';

const SECRET = 'demo-hook';
/** The endpoint that tasks name. */
export const ENDPOINT = 'lab';

export function deployReceiver(
  kube: Kube,
  image: string,
  namespace: string = SYSTEM_NAMESPACE,
): Promise<DeployedPeer> {
  return deployPeer(kube, {
    peer: 'callback-receiver',
    namespace,
    image,
    args: [String(PEER_PORT), '/etc/credentials/secret'],
    secret: { name: SECRET, values: () => ({ secret: `whsec_${randomBytes(32).toString('base64')}` }) },
    probe: '/received',
  });
}

/** Values of the chart for a receiver near the cluster, without TLS; `secret` names the Secret that signs. */
export function callbackValues(url: string, secret = SECRET): Readonly<Record<string, string>> {
  const endpoint = `config.callbacks.${ENDPOINT}`;
  return {
    callbackSecrets: `{${secret}}`,
    [`${endpoint}.url`]: url,
    [`${endpoint}.secretDirectory`]: `/etc/analysis-callbacks/${secret}`,
    [`${endpoint}.events`]: '{started,succeeded,partiallySucceeded,failed,cancelled}',
    [`${endpoint}.allowHttp`]: 'true',
    [`${endpoint}.allowPrivateAddresses`]: 'true',
  };
}

const DEADLINE_MS = 30_000;
const POLL_MS = 500;
const lastWord = ({ type }: Received): string => type.split('.').at(-1) ?? '';

/** Waits for the events of every task that asked for them, prints them and says what is wrong with them. */
export async function judgeCallbacks(
  receiver: DeployedPeer,
  tasks: readonly DemoTask[],
  write: (line: string) => void,
): Promise<readonly string[]> {
  const asked = tasks.filter(({ spec }) => spec.callbacks?.includes(ENDPOINT));
  let problems: readonly string[] = [];
  for (const end = Date.now() + DEADLINE_MS; ; ) {
    // oxlint-disable-next-line no-await-in-loop -- one question at a time
    const events = z.array(verified).parse(await receiver.get('/received'));
    problems = asked.flatMap((task) => callbackDifferences(task, events));
    if (problems.length === 0 || Date.now() > end) {
      asked.flatMap(({ name }) => linesOf(name, events)).forEach(write);
      return problems;
    }
    // oxlint-disable-next-line no-await-in-loop -- the pause between two questions
    await sleep(POLL_MS);
  }
}

const eventsOf = (name: string, events: readonly Received[]): readonly Received[] =>
  events.filter(({ data }) => data.task.name === name);

/** How the events of a task differ from a start and its end. There is no start where nobody saw the task run. */
export function callbackDifferences(
  { name, expect }: Pick<DemoTask, 'name' | 'expect'>,
  events: readonly Received[],
): string[] {
  const words = eventsOf(name, events).map(lastWord);
  const end = expect.phase.toLowerCase();
  const isRight = words.at(-1) === end && words.slice(0, -1).every((word) => word === 'started');
  return isRight
    ? []
    : [`${name}: the receiver took ${words.join(', ') || 'nothing'} instead of started, ${end}`];
}

const linesOf = (name: string, events: readonly Received[]): string[] =>
  eventsOf(name, events).map(
    (event) => `  ${name}: ${lastWord(event)}, sequence ${event.sequence}, signature verified  (${event.id})`,
  );
