#!/usr/bin/env bash
# Writes install.yaml anew from the chart and values.yaml; needs helm. `render.sh --print` writes to standard output.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
rendered() {
    echo "# Written by deploy/kustomize/render.sh from the chart; edit values.yaml beside it."
    helm template fairlead ../chart/fairlead --namespace fairlead --values values.yaml | sed '/^# Source: /d'
}
if [ "${1:-}" = --print ]; then rendered; else rendered >install.yaml; fi
