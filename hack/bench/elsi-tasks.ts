/** Tasks as ELSI lists them, the same ones in each process of the bench. */
export const MODELS = { vtc: 'vtc-1-0' };

const hex = (index: number): string => index.toString(16).padStart(12, '0');

export function benchTask(index: number) {
  return {
    task_uid: `00000000-0000-4000-8000-${hex(index)}`,
    model_name: 'vtc',
    dataset_uid_label: `corpus_of_a_laboratory_00000000-0000-4000-9000-${hex(index)}`,
  };
}
