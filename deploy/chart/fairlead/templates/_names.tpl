{{- define "fairlead.labels" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: fairlead
{{- end }}

{{/* Labels of one component and its selector: dict "root" . "component" "control" */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "fairlead.componentLabels" -}}
{{ include "fairlead.selector" . }}
app.kubernetes.io/part-of: fairlead
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "fairlead.keysSecret" -}}
{{ .Values.keys.secret | default (printf "%s-keys" .Release.Name) }}
{{- end }}

{{- define "fairlead.noKeys" -}}
keys are made once and found again later, but this rendering cannot look into the cluster (helm template, --dry-run=client, Argo CD) and would make others each time. Make them yourself:
  kubectl -n {{ .Release.Namespace }} create secret generic fairlead-keys $(for key in admin agent gateway keeper; do echo "--from-literal=$key.token=fl-$(openssl rand -hex 24)"; done)
and set keys.secret=fairlead-keys; or render with --dry-run=server.
{{- end }}

{{- define "fairlead.mongoSecret" -}}
{{ .Values.mongodb.secret | default (printf "%s-mongodb" .Release.Name) }}
{{- end }}

{{- define "fairlead.trialDatabase" -}}
{{- if and .Values.mongodb.trial.enabled (not .Values.mongodb.uri) (not .Values.mongodb.secret) }}yes{{ end }}
{{- end }}

{{- define "fairlead.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "fairlead.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What all processes of ours share: the settings file, a folder for state, one for temporary files. */}}
{{- define "fairlead.mounts" -}}
- {name: settings, mountPath: /etc/fairlead, readOnly: true}
- {name: state, mountPath: /var/lib/fairlead}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "fairlead.volumes" -}}
- {name: settings, configMap: {name: {{ .Release.Name }}-settings}}
- {name: tmp, emptyDir: {}}
{{- end }}

{{/* The token of a service account, mounted by hand so that only the container that needs it has it. */}}
{{- define "fairlead.apiToken" -}}
- name: api-token
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{- define "fairlead.apiTokenMount" -}}
- {name: api-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{- define "fairlead.controlUrl" -}}
http://{{ .Release.Name }}-control.{{ .Release.Namespace }}:8700
{{- end }}

{{- define "fairlead.databaseEnv" -}}
- name: FAIRLEAD_MONGODB_URI
  valueFrom: {secretKeyRef: {name: {{ include "fairlead.mongoSecret" . }}, key: uri}}
{{- end }}

{{/* A probe: dict "root" . "of" "liveness" "path" "/healthz" "port" "http" */}}
{{- define "fairlead.probe" -}}
httpGet: {path: {{ .path }}, port: {{ .port }}}
{{ toYaml (get .root.Values.probes .of) }}
{{- end }}

{{/* Where processes of the core run. */}}
{{- define "fairlead.scheduling" -}}
{{- with .Values.core.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.core.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.core.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How images are pulled, and how important the pods are. */}}
{{- define "fairlead.pull" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Where the control API is, and the keys of a role: dict "root" . "role" "gateway" */}}
{{- define "fairlead.edgeEnv" -}}
- {name: FAIRLEAD_CONTROL_URL, value: {{ include "fairlead.controlUrl" .root }}}
- name: FAIRLEAD_TOKEN
  valueFrom: {secretKeyRef: {name: {{ include "fairlead.keysSecret" .root }}, key: {{ .role }}.token}}
- name: FAIRLEAD_KEEPER_TOKEN
  valueFrom: {secretKeyRef: {name: {{ include "fairlead.keysSecret" .root }}, key: keeper.token}}
{{- end }}

{{/* A list sorted by the ids of its items, as a cluster's definition must be. */}}
{{- define "fairlead.byId" -}}
{{- $found := dict }}
{{- range . }}{{ $_ := set $found .id . }}{{ end }}
{{- $sorted := list }}
{{- range keys $found | sortAlpha }}{{ $sorted = append $sorted (get $found .) }}{{ end }}
{{- toYaml $sorted }}
{{- end }}
