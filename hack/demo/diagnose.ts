import type { Kube } from './kube.ts';
import { NAMESPACE, RELEASE, SYSTEM_NAMESPACE } from './names.ts';

const LONGEST_LINE = 300;

/** The pods and the operator's last words, for a demo that failed; never throws. */
export async function diagnose(kube: Kube): Promise<readonly string[]> {
  const questions = [
    ['get', 'pods', '-n', SYSTEM_NAMESPACE],
    ['get', 'pods', '-n', NAMESPACE],
    ['logs', '-n', SYSTEM_NAMESPACE, '-l', `app.kubernetes.io/instance=${RELEASE}`, '--tail=3', '--prefix'],
  ];
  const answers = await Promise.all(questions.map((args) => kube.attempt(args).catch(() => undefined)));
  return answers
    .flatMap((answer) => (answer === undefined ? [] : [answer.stdout, answer.stderr]))
    .flatMap((text) => text.split('\n'))
    .filter((line) => line.trim() !== '')
    .map((line) => line.slice(0, LONGEST_LINE));
}
