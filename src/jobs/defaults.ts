/** What the operator's configuration says about every pod that it builds. */
export interface JobDefaults {
  /** Image of the prepare, observe and publish containers: the operator's own. */
  readonly agentImage: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** PersistentVolumeClaim with the datasets, in each namespace that has tasks. */
  readonly claimName: string;
  readonly runAsUser: number;
  readonly runAsGroup: number;
  /** PriorityClass per task priority; an empty name leaves the cluster's default. */
  readonly priorityClasses: Readonly<Record<'Low' | 'Normal' | 'High', string>>;
  readonly operatorVersion: string;
}

/** Seconds added to a model's run deadline for pulling images, preparing and publishing: the pod's clock counts them too. */
export const DEADLINE_SLACK_SECONDS = 900;
