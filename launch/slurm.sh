#!/usr/bin/env bash
# Submits a run of rpt_jax to a SLURM cluster with GPUs: one process per GPU.
# Before its time is over, or when it is preempted, the job saves, goes back to
# the queue, and goes on from there.
#
#   NODES=2 GPUS=8 TIME=24:00:00 bash launch/slurm.sh --partition=gpu -- \
#     --config=configs/rpt.py --workdir=/shared/rpt
#
# What comes before -- is for sbatch, what comes after it for rpt_jax.main.
#
# Variables
#   NODES    (1)
#   GPUS     of each node, and as many processes (1)
#   CPUS     of each process (8)
#   TIME     until the job goes back to the queue (24:00:00)
#   NAME     of the job (rpt-jax)
#   EXTRA    extras of setup.py to install (cuda)
#   RETRIES  times the job goes back to the queue (20)
#   DRY_RUN  1: print the commands, run none
#
# A crash goes back to the queue, too, until RETRIES are spent or the same
# `rpt_jax: error:` line ends the job twice in a row.
# Exit code of the job: 0 complete; 1 given up; 2 something to mend.
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || {
  echo "slurm.sh: error: bash $BASH_VERSION: expected 4.4 or newer" >&2
  exit 2
}
set -euo pipefail
shopt -s inherit_errexit

say() { echo "slurm.sh: $*" >&2; }

submit() {
  local name more=()
  for name in NODES GPUS CPUS RETRIES; do
    if ! [[ "${!name:=${defaults[$name]}}" =~ ^[0-9]+$ ]]; then
      say "error: $name=${!name}: expected a number"
      exit 2
    fi
  done
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    more+=("$1")
    shift
  done
  if [ $# -lt 2 ]; then
    say 'error: nothing to run; expected [flags of sbatch] -- --config=...'
    exit 2
  fi
  call env EXTRA="${EXTRA:-cuda}" RETRIES="$RETRIES" \
    sbatch --export=ALL --job-name="${NAME:-rpt-jax}" --nodes="$NODES" \
    --ntasks-per-node="$GPUS" --gpus-per-node="$GPUS" \
    --cpus-per-task="$CPUS" --time="${TIME:-24:00:00}" --requeue \
    --signal=B:TERM@120 --open-mode=append --output=slurm-%j.log \
    "${more[@]}" launch/slurm.sh job "${@:2}"
}

# In the job. scancel signals the processes, which save and end; srun would kill
# them at its own SIGTERM.
job() {
  local code=0 output="slurm-$SLURM_JOB_ID.last" pid told='' error before
  . launch/environment.sh
  environment "${EXTRA:-cuda}"
  before="$(grep -m1 '^rpt_jax: error: ' "$output" 2>/dev/null || true)"
  : >"$output" # Now, as `tail` may come before srun.
  srun --kill-on-bad-exit=1 python -m rpt_jax.main "$@" >>"$output" 2>&1 &
  pid=$!
  trap 'told=1; scancel --signal=TERM "$SLURM_JOB_ID" || true' TERM
  tail -n +1 -f --sleep-interval=0.2 --pid="$pid" "$output" &
  while kill -0 "$pid" 2>/dev/null; do
    wait "$pid" || true # A signal ends it early, with a code of its own.
  done
  wait "$pid" || code=$?
  wait
  if [ "$code" -eq 0 ] && grep -qx 'rpt_jax: done' "$output"; then
    return
  fi
  error="$(grep -m1 '^rpt_jax: error: ' "$output" || true)"
  if [ -n "$error" ] && [ "$error" = "$before" ]; then
    say "error: twice: $error"
    return 2
  fi
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "${RETRIES:-20}" ]; then
    say "given up after ${RETRIES:-20} retries (exit code $code)"
    return 1
  fi
  say "${told:+told to end: }not complete (exit code $code), back to the queue"
  scontrol requeue "$SLURM_JOB_ID"
}

if [ "${1:-}" = job ]; then
  cd "$SLURM_SUBMIT_DIR"
  job "${@:2}"
else
  cd "$(dirname "$0")/.."
  . launch/call.sh
  declare -A defaults=([NODES]=1 [GPUS]=1 [CPUS]=8 [RETRIES]=20)
  submit "$@"
fi
