import { z } from 'zod';
import { API_VERSION } from '../../src/api/keys.ts';
import type { ModelSpecInput } from '../../src/api/model.ts';
import { analysisTask, type AnalysisTask } from '../../src/api/objects.ts';
import type { TaskSpecInput, TaskStatus } from '../../src/api/task.ts';
import { type JobView, jobView, type PodView, podView } from '../../src/jobs/views.ts';
import { type Answer } from './api.ts';
import { controlPlane, deleteAtEnd, expectOk, freshNamespace } from './control-plane.ts';
import { eventually } from './eventually.ts';

const list = z.object({ items: z.array(z.unknown()) });
const API = `/apis/${API_VERSION}`;

/** A namespace with its store and its models: what one test works in. The test plays kubelet. */
export interface Lab {
  readonly namespace: string;
  /** Name of a model made for this lab. */
  model(name: string, spec?: Partial<ModelSpecInput>): Promise<string>;
  /** A model without spec.run, written while the CRD's schema was loose. */
  malformedModel(name: string): Promise<string>;
  deleteModel(name: string): Promise<void>;
  createClaim(): Promise<void>;
  task(
    name: string,
    spec: Partial<TaskSpecInput> & { model: string },
    annotations?: Record<string, string>,
  ): Promise<Answer>;
  patchTask(name: string, patch: object): Promise<Answer>;
  deleteTask(name: string): Promise<void>;
  get(name: string): Promise<AnalysisTask>;
  /** Waits for a status for which `wanted` holds. */
  until(name: string, what: string, wanted: (status: TaskStatus) => boolean): Promise<TaskStatus>;
  jobs(task?: string): Promise<readonly JobView[]>;
  pods(): Promise<readonly PodView[]>;
  /** Waits for the pod of the newest Job of a task. */
  pod(task: string): Promise<PodView>;
  /** Writes a pod's status as kubelet would. */
  setPod(pod: PodView, status: object): Promise<void>;
  deleteJob(name: string): Promise<void>;
  path(resource: string): string;
}

export async function openLab(prefix: string, { withClaim = true } = {}): Promise<Lab> {
  const namespace = await freshNamespace(prefix);
  if (withClaim) await createClaim(namespace);
  const { api } = controlPlane();
  const tasks = `${API}/namespaces/${namespace}/analysistasks`;
  const jobsPath = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const podsPath = `/api/v1/namespaces/${namespace}/pods`;
  const items = async (path: string) => list.parse(expectOk(await api.call('GET', path))).items;
  const lab: Lab = {
    namespace,
    path: (resource) => `/api/v1/namespaces/${namespace}/${resource}`,
    async model(name, spec = {}) {
      const full = `${name}-${namespace}`.slice(0, 63);
      expectOk(await api.call('POST', `${API}/analysismodels`, { body: modelObject(full, spec) }));
      deleteAtEnd(`${API}/analysismodels/${full}`);
      return full;
    },
    createClaim: () => createClaim(namespace),
    malformedModel: (name) => malformedModel(`${name}-${namespace}`),
    async deleteModel(name) {
      expectOk(await api.call('DELETE', `${API}/analysismodels/${name}`));
    },
    task: (name, spec, annotations = {}) =>
      api.call('POST', tasks, {
        body: {
          apiVersion: API_VERSION,
          kind: 'AnalysisTask',
          metadata: { name, annotations },
          spec: { dataset: { path: 'corpus' }, ...spec },
        },
      }),
    patchTask: (name, body) =>
      api.call('PATCH', `${tasks}/${name}`, { body, contentType: 'application/merge-patch+json' }),
    async deleteTask(name) {
      expectOk(await api.call('DELETE', `${tasks}/${name}`));
    },
    get: async (name) => analysisTask.parse(expectOk(await api.call('GET', `${tasks}/${name}`))),
    until: (name, what, wanted) =>
      eventually(`${name}: ${what}`, async () => {
        const { status } = await lab.get(name);
        return status && wanted(status) ? status : undefined;
      }),
    jobs: async (task) =>
      (await items(jobsPath)).map(jobView).filter((job) => task === undefined || job.taskName === task),
    pods: async () => (await items(podsPath)).map(podView),
    pod: (task) => eventually(`the pod of ${task}`, () => newestPod(lab, task)),
    async setPod(pod, status) {
      const options = { body: { status }, contentType: 'application/merge-patch+json' };
      expectOk(await api.call('PATCH', `${podsPath}/${pod.metadata.name}/status`, options));
    },
    async deleteJob(name) {
      expectOk(await api.call('DELETE', `${jobsPath}/${name}?propagationPolicy=Background`));
    },
  };
  return lab;
}

async function newestPod(lab: Lab, task: string): Promise<PodView | undefined> {
  const attempt = (await lab.get(task)).status?.attempt;
  const job = (await lab.jobs(task)).find(({ metadata }) => metadata.name === attempt?.jobName);
  return job && (await lab.pods()).find((pod) => pod.ownerUid === job.metadata.uid);
}

async function createClaim(namespace: string): Promise<void> {
  const spec = {
    accessModes: ['ReadWriteMany'],
    storageClassName: '',
    resources: { requests: { storage: '1Gi' } },
  };
  const body = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'datasets' }, spec };
  expectOk(
    await controlPlane().api.call('POST', `/api/v1/namespaces/${namespace}/persistentvolumeclaims`, { body }),
  );
}

function modelObject(name: string, spec: Partial<ModelSpecInput>): object {
  const base = {
    version: '1.0',
    image: `example.org/vad@sha256:${'0'.repeat(64)}`,
    run: { per: 'File', command: ['vad', '{input}', '{output}'] },
    outputs: [{ path: 'raw/{rel}.rttm' }],
    // No node of any test cluster carries this label: the test plays scheduler and kubelet.
    nodeSelector: { 'analysis.elsi.dev/played-by': 'test' },
  };
  return { apiVersion: API_VERSION, kind: 'AnalysisModel', metadata: { name }, spec: { ...base, ...spec } };
}

const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/analysismodels.analysis.elsi.dev';
const loose = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
const versions = z.looseObject({
  spec: z.looseObject({ versions: z.array(z.looseObject({ schema: z.unknown() })) }),
});

/** Takes the schema away, creates the object and puts the schema back, as an upgrade from an older release would. */
async function malformedModel(name: string): Promise<string> {
  const { api } = controlPlane();
  deleteAtEnd(`${API}/analysismodels/${name}`);
  const crd = versions.parse(expectOk(await api.call('GET', CRD)));
  const put = async (all: readonly unknown[]) => {
    const body = { spec: { versions: all } };
    expectOk(await api.call('PATCH', CRD, { body, contentType: 'application/merge-patch+json' }));
  };
  const strict = crd.spec.versions;
  await put(strict.map((version) => ({ ...version, schema: { openAPIV3Schema: loose } })));
  try {
    const body = {
      apiVersion: API_VERSION,
      kind: 'AnalysisModel',
      metadata: { name },
      spec: { version: '0', outputs: [] },
    };
    await eventually('the loose schema is served', async () => {
      const answer = await api.call('POST', `${API}/analysismodels`, { body });
      return answer.status < 300 ? true : undefined;
    });
  } finally {
    await put(strict);
  }
  return name;
}
