#!/usr/bin/env bash
# Makes a virtual environment, installs the test extra, and runs the tests.
#
#   bash tests/run.sh                 everything but the slow ones
#   bash tests/run.sh -m slow         the slow ones
#   bash tests/run.sh tests/units     one room
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh
environment test
rendering
browsing
export RPT_JAX_CHROMIUM=1 # Without it the tests of the page now fail.
ruff check .
ruff format --check .
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
