import { open, stat } from 'node:fs/promises';
import { z } from 'zod';
import { ANNOTATION } from '../../../src/api/keys.ts';
import { type TaskStatus, taskStatus } from '../../../src/api/task.ts';

/** Everything that the API server was asked to change in one namespace, in its own order. */
export interface History {
  readonly taskWrites: readonly TaskWrite[];
  readonly jobs: readonly Created[];
  readonly pods: readonly Created[];
  readonly deletions: readonly Deletion[];
  /** How often a Job that was suspended was let run, by the Job's UID. */
  readonly releases: ReadonlyMap<string, number>;
  /** Requests of an operator that say anything about a Job's `spec.suspend`. */
  readonly suspensions: readonly string[];
  /** Every request of an operator that changes something, refused ones included; leases and events are not among them. */
  readonly operatorWrites: readonly string[];
}

/** A status of a task that was accepted. */
export interface TaskWrite {
  readonly uid: string;
  readonly name: string;
  readonly version: number;
  readonly status: TaskStatus;
}

/** A Job or a pod that was created. */
export interface Created {
  readonly uid: string;
  readonly name: string;
  readonly version: number;
  /** UID of the controlling owner. */
  readonly owner: string;
  readonly attempt: number;
  /** Whether an operator asked for it: the Job controller makes the pods, and tests make strangers. */
  readonly byOperator: boolean;
}

/** A deletion that an operator asked for. */
export interface Deletion {
  readonly resource: string;
  readonly name: string;
  readonly uid: string | undefined;
  readonly code: number;
}

const metadata = z.looseObject({
  name: z.string(),
  uid: z.string().default(''),
  resourceVersion: z.string().default('0'),
  annotations: z.record(z.string(), z.string()).default({}),
  ownerReferences: z
    .array(z.looseObject({ uid: z.string(), controller: z.boolean().optional() }))
    .default([]),
});
const object = z.looseObject({ kind: z.string(), metadata, status: z.unknown().optional() });

const auditEvent = z.looseObject({
  stage: z.string(),
  requestURI: z.string().default(''),
  verb: z.string(),
  userAgent: z.string().default(''),
  objectRef: z
    .looseObject({
      resource: z.string().default(''),
      namespace: z.string().default(''),
      name: z.string().default(''),
      subresource: z.string().default(''),
    })
    .optional(),
  responseStatus: z.looseObject({ code: z.number().default(0) }).optional(),
  requestObject: z.unknown().optional(),
  responseObject: z.unknown().optional(),
});
type AuditEvent = z.output<typeof auditEvent>;

const OPERATOR = 'analysis-operator/';
const READS = new Set(['get', 'list', 'watch']);
const deleteOptions = z.looseObject({
  preconditions: z.looseObject({ uid: z.string().optional() }).optional(),
});

/** Where the audit log stands now: what follows is what a test did. */
export async function auditPosition(auditLog: string): Promise<number> {
  return (await stat(auditLog)).size;
}

/** Reads what happened in a namespace since a position of the audit log. */
export async function readHistory(auditLog: string, namespace: string, from: number): Promise<History> {
  const events = await readEvents(auditLog, namespace, from);
  const written = events.filter(({ verb }) => !READS.has(verb));
  const byOperator = written.filter(
    (event) => isByOperator(event) && !['leases', 'events'].includes(event.objectRef?.resource ?? ''),
  );
  const taskWrites = written.flatMap((event) => (isTask(event) ? taskWriteOf(event) : []));
  return {
    taskWrites: taskWrites.toSorted((a, b) => a.version - b.version),
    jobs: written.flatMap((event) => createdOf(event, 'jobs')),
    pods: written.flatMap((event) => createdOf(event, 'pods')),
    deletions: byOperator.flatMap(deletionOf),
    releases: releasesOf(written.filter(({ objectRef }) => objectRef?.resource === 'jobs')),
    suspensions: byOperator.filter(suspends).map(describe),
    operatorWrites: byOperator.map(describe),
  };
}

async function readEvents(auditLog: string, namespace: string, from: number): Promise<AuditEvent[]> {
  const file = await open(auditLog);
  const events: AuditEvent[] = [];
  try {
    for await (const line of file.readLines({ start: from })) {
      if (!line.includes(namespace)) continue;
      const event = auditEvent.parse(JSON.parse(line));
      if (event.objectRef?.namespace === namespace && !event.requestURI.includes('dryRun='))
        events.push(event);
    }
  } finally {
    await file.close().catch(() => undefined);
  }
  return events;
}

const codeOf = ({ responseStatus }: AuditEvent): number => responseStatus?.code ?? 0;
const isByOperator = ({ userAgent }: AuditEvent): boolean => userAgent.startsWith(OPERATOR);
const isTask = ({ objectRef }: AuditEvent): boolean => objectRef?.resource === 'analysistasks';

function taskWriteOf(event: AuditEvent): TaskWrite[] {
  if (codeOf(event) !== 200 || !['update', 'patch'].includes(event.verb)) return [];
  const { data } = object.safeParse(event.responseObject);
  // The garbage collector writes metadata only and gets back nothing else.
  if (data?.kind !== 'AnalysisTask') return [];
  const { uid, name, resourceVersion } = data.metadata;
  return [{ uid, name, version: Number(resourceVersion), status: taskStatus.parse(data.status ?? {}) }];
}

function createdOf(event: AuditEvent, resource: string): Created[] {
  const { objectRef, verb } = event;
  if (objectRef?.resource !== resource || objectRef.subresource !== '' || verb !== 'create') return [];
  const { data } = object.safeParse(event.responseObject);
  if (codeOf(event) !== 201 || !data) return [];
  const { uid, name, resourceVersion, annotations, ownerReferences } = data.metadata;
  const owner = ownerReferences.find(({ controller }) => controller)?.uid ?? '';
  const attempt = Number(annotations[ANNOTATION.attempt] ?? 0);
  return [{ uid, name, version: Number(resourceVersion), owner, attempt, byOperator: isByOperator(event) }];
}

const job = z.looseObject({ metadata, spec: z.looseObject({ suspend: z.boolean().optional() }) });

function releasesOf(jobWrites: readonly AuditEvent[]): Map<string, number> {
  const versions = jobWrites
    .filter((event) => codeOf(event) < 300)
    .flatMap(({ responseObject }) => job.safeParse(responseObject).data ?? [])
    .toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
  const suspended = new Set<string>();
  const releases = new Map<string, number>();
  for (const {
    metadata: { uid },
    spec,
  } of versions) {
    if (spec.suspend) suspended.add(uid);
    else if (suspended.delete(uid)) releases.set(uid, (releases.get(uid) ?? 0) + 1);
  }
  return releases;
}

/** A Job as created carries the API server's default, false; a patch may be of any form, so its own text is searched. */
function suspends({ objectRef, verb, requestObject }: AuditEvent): boolean {
  if (objectRef?.resource !== 'jobs') return false;
  if (verb === 'create') return job.safeParse(requestObject).data?.spec.suspend === true;
  return JSON.stringify(requestObject ?? null).includes('"suspend"');
}

function deletionOf(event: AuditEvent): Deletion[] {
  if (event.verb !== 'delete' && event.verb !== 'deletecollection') return [];
  const { resource = '', name = '' } = event.objectRef ?? {};
  const { data } = deleteOptions.safeParse(event.requestObject);
  return [{ resource, name, uid: data?.preconditions?.uid, code: codeOf(event) }];
}

function describe(event: AuditEvent): string {
  const { resource = '', subresource = '', name = '' } = event.objectRef ?? {};
  return `${event.verb} ${resource}${subresource ? `/${subresource}` : ''} ${name}: ${codeOf(event)}`;
}
