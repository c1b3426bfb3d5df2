/** How one kind of failure is treated; the only table of its kind. */
interface Treatment {
  /** never: the same input fails again. counted: uses up one of maxAttempts. free: nobody's fault, capped separately. */
  readonly retry: 'never' | 'counted' | 'free';
  /** What a researcher or administrator can do about it. */
  readonly hint: string;
}

export const CATEGORIES = {
  InvalidInput: { retry: 'never', hint: 'correct the dataset or the task and create a new task' },
  MissingOutput: { retry: 'counted', hint: "look at the model's log with kubectl logs" },
  ModelError: { retry: 'counted', hint: "look at the model's log with kubectl logs" },
  OutOfMemory: { retry: 'counted', hint: 'ask for a model with a larger resources.memory' },
  DeadlineExceeded: {
    retry: 'counted',
    hint: 'raise failure.runDeadlineSeconds of the model or analyse a smaller directory',
  },
  Storage: { retry: 'counted', hint: 'free space on the store or ask its administrator' },
  ImagePull: { retry: 'never', hint: 'check spec.image of the model and the pull secret' },
  Unschedulable: { retry: 'never', hint: 'no node offers what the model asks for' },
  VolumeNotReady: { retry: 'never', hint: 'ask the administrator to see to the claim of the store' },
  PendingDeadlineExceeded: { retry: 'never', hint: 'see why with kubectl describe pod' },
  QuotaExceeded: { retry: 'never', hint: 'ask for more quota or wait for other tasks' },
  ConfigError: { retry: 'never', hint: 'correct the AnalysisModel: command, image or runtime class' },
  Disrupted: { retry: 'free', hint: 'the node took the pod away' },
  NodeLost: { retry: 'free', hint: 'the node stopped answering' },
  Lost: { retry: 'free', hint: 'somebody deleted the Job or its pod' },
  OutputConflict: { retry: 'never', hint: 'choose another outputName' },
  ModelGone: { retry: 'never', hint: 'create a new task for the model that is there now' },
  AgentError: { retry: 'counted', hint: "look at the agent's log with kubectl logs -c publish" },
} as const satisfies Record<string, Treatment>;

export type Category = keyof typeof CATEGORIES;

export function treatment(category: Category): Treatment {
  return CATEGORIES[category];
}

/** Reads a category back from a status; one that this version does not know counts as AgentError. */
export function categoryOf(text: string): Category {
  return isCategory(text) ? text : 'AgentError';
}

function isCategory(text: string): text is Category {
  return Object.hasOwn(CATEGORIES, text);
}
