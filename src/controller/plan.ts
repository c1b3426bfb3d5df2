import type { Unsaved } from './client.ts';
import type { KubeObject } from './resources.ts';

export type Propagation = 'Foreground' | 'Background' | 'Orphan';

/** One write to a child, executed in order. */
export type Action<Child extends KubeObject> = CreateAction<Child> | DeleteAction;

export interface CreateAction<Child extends KubeObject> {
  readonly do: 'create';
  readonly object: Unsaved<Child>;
}

export interface DeleteAction {
  readonly do: 'delete';
  readonly name: string;
  readonly namespace?: string | undefined;
  /** Only the object with this uid is deleted. */
  readonly uid: string;
  /** @default Foreground */
  readonly propagation?: Propagation | undefined;
  /** 0 forces a pod away that no kubelet answers for. */
  readonly gracePeriodSeconds?: number | undefined;
}
