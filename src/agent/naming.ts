/** The names that templates may use for one input or one directory of inputs. */
export interface Names {
  /** Path below inputs.root without extension. */
  readonly rel: string;
  /** Directory below inputs.root; empty at the root. */
  readonly reldir: string;
  /** File name without extension. */
  readonly stem: string;
  /**
   * ChildProject's recording_filename without extension: the path below `recordings/raw` or
   * `recordings/converted/<profile>`; for a converted annotation `<recording>_<onset>_<offset>` the recording;
   * else the same as rel.
   */
  readonly rec: string;
}

const RECORDINGS = /^recordings\/(?:raw|converted\/[^/]+)\/(.+)$/s;
const ANNOTATIONS = /^annotations\/(?:.+\/)?(?:converted|raw)\/(.+)$/s;
const RANGE = /_\d+_\d+$/;

function withoutExtension(path: string): string {
  const slash = path.lastIndexOf('/');
  const dot = path.lastIndexOf('.');
  return dot > slash + 1 ? path.slice(0, dot) : path;
}

function directoryOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function recordingOf(pathInDataset: string, rel: string): string {
  const recording = RECORDINGS.exec(pathInDataset)?.[1];
  if (recording !== undefined) return recording;
  const annotation = ANNOTATIONS.exec(pathInDataset)?.[1];
  return annotation === undefined ? rel : annotation.replace(RANGE, '');
}

/** Names of an input file; `path` is relative to inputs.root. */
export function fileNames(root: string, path: string): Names {
  const rel = withoutExtension(path);
  return { rel, reldir: directoryOf(path), stem: baseOf(rel), rec: recordingOf(`${root}/${rel}`, rel) };
}

/** Names of a directory of inputs; `path` is relative to inputs.root, empty for the root itself. */
export function directoryNames(root: string, path: string): Names {
  return {
    rel: path,
    reldir: path,
    stem: baseOf(path),
    rec: path === '' ? '' : recordingOf(`${root}/${path}`, path),
  };
}
