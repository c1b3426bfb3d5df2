import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';

/** A task as ELSI keeps it. */
export const storedTask = z.looseObject({
  task_uid: z.string(),
  model_name: z.string(),
  status_label: z.string(),
  dataset_uid_label: z.string(),
  dataset_name: z.string(),
  user_uid: z.string(),
  created: z.string(),
  modified: z.string(),
  estimated_duration: z.number(),
});
export type StoredTask = z.output<typeof storedTask>;

/** One change that was carried out. */
export const auditEntry = z.object({
  at: z.string(),
  uid: z.string(),
  status: z.string().optional(),
  before: z.string(),
  estimated_duration: z.number().optional(),
});
export type AuditEntry = z.output<typeof auditEntry>;

const saved = z.object({ tasks: z.array(storedTask), audit: z.array(auditEntry) });

/** Tasks and the log of every PUT, in a file if there is one, so that a restart forgets nothing. */
export class Store {
  readonly tasks = new Map<string, StoredTask>();
  readonly audit: AuditEntry[] = [];
  readonly #file: string | undefined;

  constructor(file?: string) {
    this.#file = file;
    if (file === undefined || !existsSync(file)) return;
    const { tasks, audit } = saved.parse(JSON.parse(readFileSync(file, 'utf8')));
    for (const task of tasks) this.tasks.set(task.task_uid, task);
    this.audit.push(...audit);
  }

  add(
    task: Pick<StoredTask, 'task_uid' | 'model_name' | 'dataset_uid_label'> & Partial<StoredTask>,
  ): StoredTask {
    const now = new Date().toISOString().replace('Z', '+00:00');
    const whole: StoredTask = {
      status_label: 'pending',
      dataset_name: task.dataset_uid_label.slice(0, -37),
      user_uid: '00000000-0000-4000-8000-000000000001',
      created: now,
      modified: now,
      estimated_duration: 0,
      ...task,
    };
    this.tasks.set(task.task_uid, whole);
    this.#save();
    return whole;
  }

  /** What a PUT does: any word is stored, no transition is refused, `modified` stays. */
  change(
    task: StoredTask,
    { status, duration }: { readonly status?: string; readonly duration?: number },
  ): StoredTask {
    this.audit.push({
      at: new Date().toISOString(),
      uid: task.task_uid,
      before: task.status_label,
      ...(status === undefined ? {} : { status }),
      ...(duration === undefined ? {} : { estimated_duration: duration }),
    });
    return this.set(task.task_uid, {
      ...(status === undefined ? {} : { status_label: status }),
      ...(duration === undefined ? {} : { estimated_duration: duration }),
    });
  }

  /** A change from inside ELSI, such as a researcher's retry or a restored backup: not in the log of PUTs. */
  set(uid: string, change: Partial<StoredTask>): StoredTask {
    const before = this.tasks.get(uid);
    if (!before) throw new Error(`there is no task ${uid}`);
    const after: StoredTask = { ...before, ...change };
    this.tasks.set(uid, after);
    this.#save();
    return after;
  }

  remove(uid: string): void {
    this.tasks.delete(uid);
    this.#save();
  }

  #save(): void {
    if (this.#file === undefined) return;
    writeFileSync(
      `${this.#file}.tmp`,
      JSON.stringify({ tasks: [...this.tasks.values()], audit: this.audit }),
    );
    renameSync(`${this.#file}.tmp`, this.#file);
  }
}
