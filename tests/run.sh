#!/usr/bin/env bash
# All tests but the acceptance cases, with the floors of branch coverage: 100 % of contracts and policy, FLOOR elsewhere.
# `make test` calls it after its checks. Arguments go to pytest; with arguments no floor is asked for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin="${VENV:-.venv}/bin"
FLOOR=88 # rises, never falls

if [ $# -gt 0 ]; then exec "$bin/python" -m pytest "$@"; fi
start=$SECONDS
COVERAGE_FILE="$(mktemp)" # its own: two runs in one folder do not disturb one another
export COVERAGE_FILE
trap 'rm -f "$COVERAGE_FILE"' EXIT
echo "test: units, properties, real processes with a real MongoDB, one short fairlead up"
status=0
"$bin/python" -m pytest -q -n 2 --dist loadfile --durations=10 --cov --cov-report= || status=$?
echo "test: branch coverage of contracts and policy, 100 % wanted"
"$bin/coverage" report --include='fairlead/contracts/*,fairlead/policy/*' --fail-under=100 || status=1
echo "test: branch coverage of everything, at least $FLOOR % wanted"
"$bin/coverage" report --fail-under=$FLOOR || status=1
echo "test: $((SECONDS - start)) s, $([ $status = 0 ] && echo ok || echo FAILED)"
exit $status
