import type { Mutant } from './mutant.ts';

const PUBLISH = 'src/agent/publish.ts';
const LOOP = 'src/api/loop.ts';

/** Replaces whatever stands at the place of publication. */
const RENAME_OVER = [
  {
    file: PUBLISH,
    find: "import { readdir, realpath, rename } from 'node:fs/promises';",
    replace: "import { readdir, realpath, rename, rm } from 'node:fs/promises';",
  },
  {
    file: PUBLISH,
    find: 'await rename(places.staging.out, directory);',
    replace:
      'await rm(directory, { recursive: true, force: true });\n      await rename(places.staging.out, directory);',
  },
];

/** Known bugs of the agent and of the loop around the model: what they leave on the volume. */
export const AGENT_MUTANTS: readonly Mutant[] = [
  {
    name: 'outputs-not-flushed',
    breaks: 'verified outputs are in memory only when they are reported',
    row: 'K1',
    edits: [{ file: 'src/agent/inspect.ts', find: '  await handle.datasync();\n', replace: '' }],
  },
  {
    name: 'extras-not-flushed',
    breaks: 'what a model wrote beyond its promises is in memory only when it is published',
    row: 'K1',
    edits: [{ file: 'src/agent/outputs.ts', find: '    await handle.datasync();\n', replace: '' }],
  },
  {
    name: 'manifest-not-flushed',
    breaks: 'the manifest is in memory only when the result is reported',
    row: 'K1',
    edits: [{ file: 'src/agent/lines.ts', find: 'flush: true', replace: 'flush: false' }],
  },
  {
    name: 'rename-not-flushed',
    breaks: 'a result is reported before the disk knows of its place',
    row: 'K1',
    edits: [
      {
        file: PUBLISH,
        find: '  await syncDirectory(dirname(directory));\n  await syncDirectory(places.staging.pod).catch(() => undefined);\n',
        replace: '',
      },
    ],
  },
  {
    name: 'publish-overwrites',
    breaks: 'publish replaces what appeared in its place since it looked',
    row: 'K2/between',
    edits: RENAME_OVER,
  },
  {
    name: 'any-result-is-ours',
    breaks: 'whatever result stands there is taken for the own one',
    row: 'K2/before',
    edits: [
      {
        file: 'src/agent/manifest.ts',
        find: "if (head.identity === identity) return { kind: 'ours', head };",
        replace: "if (head.identity !== '') return { kind: 'ours', head };",
      },
    ],
  },
  {
    name: 'last-one-wins',
    breaks: 'a pod that publishes late replaces the result of the attempt that replaced it',
    row: 'G2',
    edits: [
      ...RENAME_OVER,
      {
        file: PUBLISH,
        find: "  if (before.kind === 'ours') return finish(places, before, options);\n",
        replace: '',
      },
      { file: PUBLISH, find: 'rmSync(places.staging.task,', replace: 'rmSync(places.staging.pod,' },
    ],
  },
  {
    name: 'reuse-by-link',
    breaks: 'finished units of an earlier attempt are linked, so that whoever still writes there writes here',
    row: 'K3',
    edits: [
      {
        file: 'src/agent/resume.ts',
        find: 'import { copyFile, mkdir,',
        replace: 'import { link, mkdir,',
      },
      {
        file: 'src/agent/resume.ts',
        find: 'await copyFile(join(root, path), target, constants.COPYFILE_FICLONE);',
        replace: 'await link(join(root, path), target);',
      },
    ],
  },
  {
    name: 'key-without-parameters',
    breaks: 'a unit is the same unit with other parameters',
    row: 'K3/parameters',
    edits: [
      {
        file: 'src/agent/plan.ts',
        find: '    parameters,\n    request.run,',
        replace: '    request.run,',
      },
    ],
  },
  {
    name: 'key-without-content',
    breaks: 'a unit is the same unit when its recording was replaced',
    row: 'K3/inputs',
    edits: [
      {
        file: 'src/agent/plan.ts',
        find: '({ path, size, mtimeMs }) => [path, size, mtimeMs]',
        replace: '({ path }) => [path]',
      },
    ],
  },
  {
    name: 'copy-unseen',
    breaks: 'a unit is used again without a look at what was copied',
    row: 'K3/spoilt',
    edits: [
      {
        file: 'src/agent/resume.ts',
        find: 'inspection.record.sha256 === sha256',
        replace: "inspection.record.sha256 !== ''",
      },
    ],
  },
  {
    name: 'exit-0-is-proof',
    breaks: 'a model that exits with 0 is believed to have written its outputs',
    row: 'K4/nothing',
    edits: [
      {
        file: 'src/agent/verify.ts',
        find: "    if ('problem' in inspection)\n      return { unit, outputs, ...exit, failure: missing(verify, promise, inspection.problem) };\n",
        replace: "    if ('problem' in inspection) continue;\n",
      },
    ],
  },
  {
    name: 'exit-code-ignored',
    breaks: 'a model that fails is believed when its outputs are there',
    row: 'K4/exit-code',
    edits: [
      {
        file: 'src/agent/verify.ts',
        find: 'return exitCode === 0 ? { exitCode }',
        replace: 'return exitCode >= 0 ? { exitCode }',
      },
    ],
  },
  {
    name: 'killed-unit-is-an-error',
    breaks: 'a unit that was killed is a failure of the model like any other',
    row: 'K4/killed',
    edits: [
      { file: 'src/agent/verify.ts', find: 'if (code === KILLED) {', replace: 'if (code === -KILLED) {' },
    ],
  },
  {
    name: 'half-is-whole',
    breaks: 'more failed units than the model allows are a result all the same',
    row: 'K4/half',
    edits: [
      {
        file: 'src/agent/judge.ts',
        find: 'if (failed <= request.failure.maxFailedUnits && failed < total) return undefined;',
        replace: 'if (failed < total) return undefined;',
      },
    ],
  },
  {
    name: 'empty-is-an-output',
    breaks: 'an empty file counts as an output',
    row: 'K4/empty',
    edits: [
      {
        file: 'src/agent/inspect.ts',
        find: "  if (before.size === 0 && !rule.allowEmpty) return { problem: 'is empty' };\n",
        replace: '',
      },
    ],
  },
  {
    name: 'link-is-an-output',
    breaks: 'a link in the place of an output is followed',
    row: 'K4/link',
    edits: [
      {
        file: 'src/agent/paths.ts',
        find: 'constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK',
        replace: 'constants.O_RDONLY | constants.O_NONBLOCK',
      },
    ],
  },
  {
    name: 'link-above-is-followed',
    breaks: 'a link in the place of a directory of outputs is followed',
    row: 'K4/link-above',
    edits: [
      {
        file: 'src/agent/paths.ts',
        find: 'const real = (await realpath(parent)) === parent;',
        replace: "const real = (await realpath(parent)) !== '';",
      },
    ],
  },
  {
    name: 'clears-all-staging',
    breaks: 'a task that has published removes what others have staged as well',
    row: 'K6/published',
    edits: [
      {
        file: PUBLISH,
        find: 'rmSync(places.staging.task,',
        replace: 'rmSync(places.staging.allStaging,',
      },
    ],
  },
  {
    name: 'swept-by-age-alone',
    breaks: 'staging is swept by its age, whoever it belongs to',
    row: 'K6/swept',
    edits: [
      {
        file: 'src/reconcilers/task/store/staging-sweep.ts',
        find: '    if (settled === false || hasLivePod(name)) return [];\n',
        replace: '',
      },
      {
        file: 'src/reconcilers/task/store/staging-sweep.ts',
        find: 'const minIdleSeconds = settled === undefined ?',
        replace: 'const minIdleSeconds = settled !== true ?',
      },
    ],
  },
  {
    name: 'size-is-enough',
    breaks: 'verify compares the sizes of files and not what is in them',
    row: 'K7',
    edits: [
      {
        file: 'src/agent/recheck.ts',
        find: 'if (sha256 !== entry.sha256)',
        replace: "if (sha256 === '')",
      },
    ],
  },
  {
    name: 'any-manifest-will-do',
    breaks: 'verify does not compare the manifest with what the task says of it',
    row: 'K7',
    edits: [
      {
        file: 'src/agent/recheck.ts',
        find: 'wanted.toLowerCase() !== run.manifestSha256)',
        replace: "run.manifestSha256 === '')",
      },
    ],
  },
  {
    name: 'term-kept-from-the-model',
    breaks: 'the loop is asked to stop and does not tell the model',
    row: 'K8',
    edits: [{ file: LOOP, find: '    kill -TERM "$!" 2>/dev/null\n', replace: '' }],
  },
  {
    name: 'stop-blames-the-unit',
    breaks: 'a unit that was asked to stop counts as one that ended its container',
    row: 'K8',
    edits: [
      { file: LOOP, find: '  if [ -n "$current" ]; then : >"$control/$current.start"; fi\n', replace: '' },
    ],
  },
  {
    name: 'clears-before-it-reports',
    breaks: 'publish removes its staging first, and may be killed before it has reported',
    row: 'K9/cancelled',
    edits: [
      {
        file: 'src/agent/index.ts',
        find: "  if (step !== 'observe') await writeReport(options.terminationLog, report, options.log);\n  await afterwards?.();\n",
        replace:
          "  await afterwards?.();\n  if (step !== 'observe') await writeReport(options.terminationLog, report, options.log);\n",
      },
    ],
  },
  {
    name: 'report-of-the-killed-is-void',
    breaks: 'what publish reported before it was killed does not count',
    row: 'K9',
    edits: [
      {
        file: 'src/jobs/outcome.ts',
        find: 'return publish?.exitCode === EXIT.ok || reportOf(pod, CONTAINER.publish)?.result !== undefined;',
        replace: 'return publish?.exitCode === EXIT.ok;',
      },
    ],
  },
];
