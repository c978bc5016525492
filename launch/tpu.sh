#!/usr/bin/env bash
# Runs rpt_jax on a Cloud TPU: makes the machine, runs, and starts again after a
# preemption until the run is complete. The same command goes to all hosts.
#
#   ZONE=us-east5-b ACCELERATOR=v6e-16 SPOT=1 bash launch/tpu.sh run \
#     --config=configs/rpt.py --workdir=gs://bucket/rpt
#
# Verbs
#   run      create (or use what is there), install, run, watch; after a
#            preemption delete, create, and run again; after a crash run again
#            on the same machine, after two in a row on a new one
#   resume   another word for run: a run goes on from what its workdir holds,
#            and a job that still runs is only followed
#   create   make the machine and wait until it is there
#   status   its state in one word
#   logs     the log of the first host, as it grows
#   delete   give back all that was made
# What follows the verb run is for rpt_jax.main, with any quoting. gs:// paths
# in it are mounted on every host (gcsfuse) and given as mounted paths, so that
# checkpoints and compiled steps (<workdir>/compiled) outlive the machine.
#
# Variables
#   ACCELERATOR  v6e-16, v5p-128, v5e-8, v4-32, ... (chips or cores as Google
#                counts them); with BACKEND=compute a generation and a topology,
#                as for --aot: tpu7x:4x4x4, v6e:4x4, v5p:2x2x2
#   ZONE         such as us-east5-b
#   BACKEND      queued    Cloud TPU queued resources, v2 to v6e (the default)
#                compute   Compute Engine instances, TPU7x and later (the
#                          default for tpu7x)
#                gke       Kubernetes, by xpk
#   NAME         of everything that is made (rpt-jax)
#   PROJECT      Google Cloud project (that of gcloud's settings)
#   SPOT         1: spot capacity, cheaper, and taken back at any time
#   FLAGS        more flags for the create command, split at spaces, such as
#                "--network=lab --service-account=me@lab"
#   RUNTIME      queued: version of the TPU's system (by the accelerator)
#   IMAGE_FAMILY, IMAGE_PROJECT, MACHINE
#                compute: boot image (both required) and machine type
#   CLUSTER      gke: a cluster of yours, never made or deleted here; without
#                one NAME-cluster is, by `create` and `delete`
#   EXTRA        extras of setup.py to install (tpu); metaworld also draws
#   LIBTPU_INIT_ARGS  handed over if set
#   RETRIES      runs and machines after the first ones (20)
#   INTERVAL     seconds between two looks at the state (30)
#   POLLS        looks before it gives up waiting for a machine (2880: a day)
#   DELETE       1: delete when the run is complete or given up
#   DRY_RUN      1: print the commands, run none
#
# Exit code: 0 complete; 1 given up; 2 something to mend, in one line.
# The code that runs is HEAD of this repository, without what is uncommitted.
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || {
  echo "tpu.sh: error: bash $BASH_VERSION: expected 4.4 or newer" >&2
  exit 2
}
set -euo pipefail
shopt -s inherit_errexit

die() {
  echo "tpu.sh: error: $*" >&2
  exit 2
}

say() { echo "tpu.sh: $*" >&2; }

# What a cloud command prints; nothing if what it asks for does not exist. Fails
# if there is no telling.
ask() {
  if [ -n "$DRY_RUN" ]; then
    call "$@"
    return
  fi
  "$@" 2>"$scratch/errors" && return
  grep -qiE 'not[ _]found' "$scratch/errors" && return
  say "error: $(tr '\n' ' ' <"$scratch/errors")(from: $1 $2 $3 ...)"
  return 1
}

# A line for a host: what it is handed over, how host.sh starts, the arguments.
line() {
  local name
  for name in EXTRA LIBTPU_INIT_ARGS; do
    [ -z "${!name:-}" ] || printf '%s=%q ' "$name" "${!name}"
  done
  printf '%s' "$1"
  printf ' %q' "${@:2}"
}

# The line every host runs. It unpacks host.sh alone, into memory: a job may
# still run there, from the code it came with.
remote() {
  # shellcheck disable=SC2016
  line 'bash -c "$(tar -xzOf rpt_jax.tar.gz launch/host.sh)" host.sh follow' \
    "$@"
}

# Says what is here and will not be there.
left_behind() {
  local changed line
  changed="$(git status --porcelain)"
  if [ -n "$changed" ]; then
    say "not in HEAD, so that it does not run there:" \
      "$(cut -c4- <<<"$changed" | head -n 5 | paste -sd ' ')" \
      "($(wc -l <<<"$changed") changed or new)"
  fi
  for line in "$@"; do
    line="${line#--config=}" line="${line%%:*}"
    [[ "$line" != -* && -f "$line" ]] || continue
    git cat-file -e "HEAD:./$line" 2>/dev/null ||
      say "$line is not in HEAD: hosts have no such config"
  done
  while read -r line; do
    say "$line lies on this machine: hosts read gs:// paths, or what they share"
  done < <("${PYTHON:-python3}" launch/local_paths.py "$@" 2>/dev/null || true)
}

package() {
  call git archive --format=tar.gz --output="$archive" HEAD
}

# Waits until the machine is ACTIVE; makes it where there is none, and deletes
# it where it has died. A look that failed says nothing, and changes nothing.
ready() {
  local now='' last='' poll
  if [ -n "$DRY_RUN" ]; then
    create
    return
  fi
  for ((poll = 0; poll < POLLS; poll++)); do
    [ "$poll" -eq 0 ] || sleep "$INTERVAL"
    now="$(state)" || {
      now=''
      continue
    }
    [ "$now" = "$last" ] || say "$NAME is $now"
    last="$now"
    case "$now" in
      ACTIVE) return ;;
      NONE) create || missed $? ;;
      FAILED | SUSPENDED | PREEMPTED | TERMINATED | STOPPED)
        delete || true # The next look tells.
        crashes=0
        spend
        ;;
    esac
  done
  say "$NAME is ${now:-out of sight} after $POLLS looks, given up"
  [ -z "$now" ] || DELETE=1 # It would come later, and find nobody.
  leave 1
}

# Ends, and leaves nothing behind that is paid for without saying so.
leave() {
  [ -n "${DELETE:-}" ] && delete || [ "$(state || true)" = NONE ] ||
    say "$NAME is still there and paid for: bash launch/tpu.sh delete"
  exit "$1"
}

# A create command that failed: wrong flags (2) for good, else tried again.
missed() {
  [ "$1" -ne 2 ] || exit 2
  spend
}

# Counts a run or a machine that came to nothing.
spend() {
  spent=$((spent + 1))
  if [ "$spent" -gt "$RETRIES" ]; then
    say "given up after $RETRIES retries; the same command goes on from here"
    leave 1
  fi
}

run() {
  local code argument has_workdir='' before=''
  for argument in "$@"; do
    case "$argument" in --workdir=gs://?* | --workdir=/?*) has_workdir=1 ;; esac
  done
  [ -n "$has_workdir" ] || die 'no --workdir=gs://<bucket>/<folder> (or the' \
    'absolute path of a file system all hosts share): a run without one' \
    'dies with its machine'
  left_behind "$@"
  package
  while true; do
    ready
    code=0
    execute "$@" | tee "$scratch/output" || code=$?
    [ -z "$DRY_RUN" ] || return 0
    if [ "$code" -eq 0 ] && grep -qx 'rpt_jax: done' "$scratch/output"; then
      leave 0
    fi
    judge
    spend
    say "not complete (exit code $code), going on"
    sleep "$INTERVAL"
  done
}

# What a run that is not complete has said. One error or crash may come of a
# lost host or disk; the same error again is to be mended, and a second crash
# may be the machine's. A lost connection says neither.
judge() {
  local error
  error="$(grep -m1 '^rpt_jax: refused: ' "$scratch/output")" && die "$error"
  error="$(grep -m1 '^rpt_jax: error: ' "$scratch/output" || true)"
  if [ -n "$error" ] && [ "$error" = "$before" ]; then
    say "error: twice: $error"
    leave 2
  fi
  before="$error"
  if ! grep -q '^rpt_jax: ended with exit code ' "$scratch/output"; then
    crashes=0
  elif [ "$((++crashes))" -eq 2 ]; then
    say "two crashes in a row, $NAME is made again"
    delete || true
    crashes=0
  fi
}

check() {
  local name
  for name in ACCELERATOR ZONE; do
    [ -n "${!name:-}" ] || die "no $name; see launch/tpu.sh --help"
  done
  for name in RETRIES INTERVAL POLLS; do
    [[ "${!name}" =~ ^[0-9]+$ ]] || die "$name=${!name}: expected a number"
  done
  [[ "$NAME" =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] ||
    die "NAME=$NAME: expected small letters, digits and dashes, at most 40"
  if [ -z "${BACKEND:-}" ]; then
    case "$ACCELERATOR" in
      tpu7x*) BACKEND=compute ;;
      *) BACKEND=queued ;;
    esac
  fi
  [ -f "launch/backends/$BACKEND.sh" ] ||
    die "BACKEND=$BACKEND: expected queued, compute or gke"
}

usage() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' launch/tpu.sh; }

cd "$(dirname "$0")/.."
. launch/call.sh
verb="${1:-}"
[ $# -eq 0 ] || shift
case "$verb" in
  run | resume | create | status | logs | delete) ;;
  '' | -h | --help | help)
    usage
    exit
    ;;
  *) die "unknown verb $verb: expected run, resume, create, status, logs," \
    'delete' ;;
esac

NAME="${NAME:-rpt-jax}"
DRY_RUN="${DRY_RUN:-}"
RETRIES="${RETRIES:-20}" INTERVAL="${INTERVAL:-30}" POLLS="${POLLS:-2880}"
check
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
read -ra flags <<<"${FLAGS:-}"
archive="${TMPDIR:-/tmp}/rpt_jax-$NAME.tar.gz"
spent=0 crashes=0
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
# shellcheck source=launch/backends/queued.sh
. "launch/backends/$BACKEND.sh"

case "$verb" in
  run | resume) run "$@" ;;
  create) ready ;;
  status) state || exit 2 ;;
  *) "$verb" ;;
esac
