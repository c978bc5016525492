#!/usr/bin/env bash
# Makes a virtual environment, installs, and runs the main job on this machine.
#
#   bash launch/local.sh                               the default experiment
#   bash launch/local.sh --config=configs/hubert_units.py:quicktest
#   EXTRA=metaworld bash launch/local.sh --config=configs/rpt.py:quicktest
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh
environment "${EXTRA:-}"
case "${EXTRA:-}" in *metaworld* | *dm_control*) rendering ;; esac
[ $# -gt 0 ] || set -- --config=configs/hubert_units.py
exec python -m rpt_jax.main "$@"
