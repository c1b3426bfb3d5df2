import { createTypeMetaGuard, Model, type ModelData, type TypeMeta } from '@kubernetes-models/base';
import type { IJob } from 'kubernetes-models/batch/v1/Job';
import { z } from 'zod';
import { API_VERSION } from './keys.ts';
import { modelSpec, modelStatus, type ModelSpecInput, type ModelStatus } from './model.ts';
import { taskSpec, taskStatus, type TaskSpecInput, type TaskStatus } from './task.ts';

type Metadata = NonNullable<IJob['metadata']>;

/** An AnalysisTask as people write it: fields with a default may be left out. */
interface IAnalysisTask extends TypeMeta {
  metadata: Metadata;
  spec: TaskSpecInput;
  status?: TaskStatus;
}

/** An AnalysisModel as people write it: fields with a default may be left out. */
interface IAnalysisModel extends TypeMeta {
  metadata: Metadata;
  spec: ModelSpecInput;
  status?: ModelStatus;
}

const metadata = z.looseObject({ name: z.string().min(1).max(63) });
const TASK = { apiVersion: API_VERSION, kind: 'AnalysisTask' };
const MODEL = { apiVersion: API_VERSION, kind: 'AnalysisModel' };
const taskManifest = z.object({ metadata, spec: taskSpec, status: taskStatus.optional() });
const modelManifest = z.object({ metadata, spec: modelSpec, status: modelStatus.optional() });

/** Builds manifests of tasks in tests, tools and examples; the reconcilers work on plain objects. */
export class AnalysisTask extends Model<IAnalysisTask> implements IAnalysisTask {
  declare apiVersion: string;
  declare kind: string;
  declare metadata: Metadata;
  declare spec: TaskSpecInput;
  declare status?: TaskStatus;
  static readonly is = createTypeMetaGuard<IAnalysisTask>(TASK);

  constructor(data?: ModelData<IAnalysisTask>) {
    super();
    Object.assign(this, TASK);
    this.setDefinedProps(data);
  }

  /** Throws a ZodError that names every field that does not fit the schema. */
  override validate(): void {
    taskManifest.parse(this.toJSON());
  }
}

/** Builds manifests of models in tests, tools and examples. */
export class AnalysisModel extends Model<IAnalysisModel> implements IAnalysisModel {
  declare apiVersion: string;
  declare kind: string;
  declare metadata: Metadata;
  declare spec: ModelSpecInput;
  declare status?: ModelStatus;
  static readonly is = createTypeMetaGuard<IAnalysisModel>(MODEL);

  constructor(data?: ModelData<IAnalysisModel>) {
    super();
    Object.assign(this, MODEL);
    this.setDefinedProps(data);
  }

  /** Throws a ZodError that names every field that does not fit the schema. */
  override validate(): void {
    modelManifest.parse(this.toJSON());
  }
}
