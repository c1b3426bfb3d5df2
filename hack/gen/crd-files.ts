import { stringify } from 'yaml';
import { KINDS, crd } from './crd.ts';
import type { Generated } from './files.ts';

const HEADER = '# Generated from src/api by hack/gen-crds.ts; do not edit.\n';

/**
 * YAML 1.1 quotes `yes` and `on`, which kubectl would otherwise read as booleans; without aliases every node stands
 * where it is used; one line per string keeps diffs small.
 */
const print = (value: object): string =>
  stringify(value, { version: '1.1', aliasDuplicateObjects: false, lineWidth: 0 });

/** The CRDs as they are checked in, and once more as templates of the chart. */
export function crdFiles(): Generated {
  const files: Record<string, string> = {};
  for (const source of KINDS) {
    const object = crd(source);
    files[`crds/${source.plural}.yaml`] = HEADER + print(object);
    files[`charts/analysis-operator/templates/crds/${source.plural}.yaml`] = template(object);
  }
  return files;
}

/** Removing the release must not remove every task of the cluster, hence the policy. */
function template(object: object): string {
  const kept = {
    ...object,
    metadata: { ...metadataOf(object), annotations: { 'helm.sh/resource-policy': 'keep' } },
  };
  const body = print(kept);
  if (body.includes('{{'))
    throw new Error('a description contains "{{", which Helm would take for a template action');
  return `${HEADER}{{- if .Values.crds.install }}\n${body}{{- end }}\n`;
}

function metadataOf(object: object): object {
  return 'metadata' in object && typeof object.metadata === 'object' && object.metadata !== null
    ? object.metadata
    : {};
}
