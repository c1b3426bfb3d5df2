{{- define "analysis-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "analysis-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "analysis-operator.name" . }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Of one component: (list $ "controller"). */}}
{{- define "analysis-operator.componentSelector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "analysis-operator.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "analysis-operator.componentLabels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "analysis-operator.componentSelector" . }}
{{- end }}

{{/* The processes that serve health and metrics on the port `health`. */}}
{{- define "analysis-operator.processes" -}}
- component: controller
  name: {{ include "analysis-operator.fullname" . }}
  port: {{ .Values.config.health.port }}
  replicas: {{ .Values.replicas }}
{{- if .Values.elsi.enabled }}
- component: elsi-sync
  name: {{ include "analysis-operator.elsiName" . }}
  port: {{ include "analysis-operator.elsiPort" . }}
  replicas: {{ .Values.elsi.replicas }}
{{- end }}
{{- end }}

{{- define "analysis-operator.elsiPort" -}}
8082
{{- end }}

{{- define "analysis-operator.selectorLabels" -}}
{{- include "analysis-operator.componentSelector" (list . "controller") }}
{{- end }}

{{- define "analysis-operator.labels" -}}
{{- include "analysis-operator.componentLabels" (list . "controller") }}
{{- end }}

{{- define "analysis-operator.storeAgentName" -}}
{{- printf "%s-store-agent" (include "analysis-operator.fullname" . | trunc 51 | trimSuffix "-") }}
{{- end }}

{{- define "analysis-operator.storeAgentSelectorLabels" -}}
{{- include "analysis-operator.componentSelector" (list . "store-agent") }}
{{- end }}

{{- define "analysis-operator.storeAgentLabels" -}}
{{- include "analysis-operator.componentLabels" (list . "store-agent") }}
{{- end }}

{{/* What every container may do: nothing. */}}
{{- define "analysis-operator.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "analysis-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "analysis-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "analysis-operator.fullname" .) }}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "analysis-operator.leaseNamespace" -}}
{{- .Values.config.leaderElection.namespace | default .Release.Namespace }}
{{- end }}

{{/* The configuration with the empty values filled in. */}}
{{- define "analysis-operator.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config.agent "image" (.Values.config.agent.image | default (include "analysis-operator.image" .)) }}
{{- $_ := set $config.leaderElection "namespace" (include "analysis-operator.leaseNamespace" .) }}
{{- $_ := set $config.leaderElection "name" (.Values.config.leaderElection.name | default (include "analysis-operator.fullname" .)) }}
{{- if .Values.storeAgent.enabled }}
{{- $url := printf "http://%s.{namespace}.svc:9809" (include "analysis-operator.storeAgentName" .) }}
{{- $_ := set $config.storeAgent "urlTemplate" (.Values.config.storeAgent.urlTemplate | default $url) }}
{{- $file := printf "/etc/analysis-store-agent/%s" .Values.storeAgent.tokenSecret.key }}
{{- $_ := set $config.storeAgent "tokenFile" (.Values.config.storeAgent.tokenFile | default $file) }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "analysis-operator.elsiName" -}}
{{- printf "%s-elsi" (include "analysis-operator.fullname" . | trunc 58 | trimSuffix "-") }}
{{- end }}

{{- define "analysis-operator.elsiSelectorLabels" -}}
{{- include "analysis-operator.componentSelector" (list . "elsi-sync") }}
{{- end }}

{{- define "analysis-operator.elsiLabels" -}}
{{- include "analysis-operator.componentLabels" (list . "elsi-sync") }}
{{- end }}

{{/* The configuration of elsi-sync with what the chart knows. */}}
{{- define "analysis-operator.elsiConfig" -}}
{{- $config := deepCopy .Values.elsi.config }}
{{- $_ := set $config.elsi "credentialsDirectory" "/etc/elsi" }}
{{- if .Values.elsi.caConfigMap }}
{{- $_ := set $config.elsi "caFile" "/etc/elsi-ca/ca.crt" }}
{{- end }}
{{- $_ := set $config "leaderElection" (dict "namespace" .Release.Namespace "name" (include "analysis-operator.elsiName" .)) }}
{{- $_ := set $config "health" (dict "port" (include "analysis-operator.elsiPort" . | int)) }}
{{- toYaml $config }}
{{- end }}

{{/* What the operator may do where tasks are. */}}
{{- define "analysis-operator.taskRules" -}}
- apiGroups: [analysis.elsi.dev]
  resources: [analysistasks]
  # patch: the finalizer that holds a task until its callbacks are delivered
  verbs: [get, list, watch, patch, delete]
- apiGroups: [analysis.elsi.dev]
  resources: [analysistasks/status]
  verbs: [update]
- apiGroups: [analysis.elsi.dev]
  resources: [analysistasks/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
# Why the Job controller could not create a pod, or a queue does not let a Job run, is told in events only.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}
