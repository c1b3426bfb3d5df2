import { run, tryRun, type RunResult } from '../cluster/exec.ts';

/** How to reach the cluster: the kubectl binary and the kubeconfig. */
export type Access = { readonly kubectl: string; readonly kubeconfig: string };

/** kubectl bound to one cluster. */
export type Kube = {
  /** stdout of kubectl; throws with its last lines when it fails. */
  readonly run: (args: readonly string[], stdin?: string) => Promise<string>;
  /** The same without throwing: for commands that are expected to be refused. */
  readonly attempt: (args: readonly string[], stdin?: string) => Promise<RunResult>;
  /** Creates or changes objects. */
  readonly apply: (objects: readonly object[]) => Promise<void>;
  /** GET of an API path as parsed JSON; undefined when it does not exist. */
  readonly get: (path: string) => Promise<unknown>;
};

const TIMEOUT_MS = 120_000;

export function createKube(access: Access): Kube {
  const options = (stdin?: string) => ({
    timeoutMs: TIMEOUT_MS,
    env: { KUBECONFIG: access.kubeconfig },
    ...(stdin === undefined ? {} : { stdin }),
  });
  const runKubectl: Kube['run'] = (args, stdin) => run(access.kubectl, args, options(stdin));
  const attempt: Kube['attempt'] = (args, stdin) => tryRun(access.kubectl, args, options(stdin));
  return {
    run: runKubectl,
    attempt,
    apply: async (objects) => {
      await runKubectl(['apply', '-f', '-'], asList(objects));
    },
    get: async (path) => {
      const { code, stdout, stderr } = await attempt(['get', '--raw', path]);
      if (code === 0) return JSON.parse(stdout);
      if (/NotFound|could not find/.test(stderr)) return undefined;
      throw new Error(`kubectl get --raw ${path}: ${stderr.trim()}`);
    },
  };
}

/** Several objects as the one document that kubectl reads. */
export function asList(objects: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
}
