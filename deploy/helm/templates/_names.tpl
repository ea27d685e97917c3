{{- define "switchboard.name" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 58 | trimSuffix "-" }}
{{- end }}

{{- define "switchboard.selector" -}}
app.kubernetes.io/name: switchboard
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "switchboard.labels" -}}
{{ include "switchboard.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "switchboard.metadata" -}}
name: {{ include "switchboard.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "switchboard.labels" . | nindent 2 }}
{{- end }}
