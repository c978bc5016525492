#!/usr/bin/env bash
# What every host of a TPU runs; launch/tpu.sh sends it there with the code.
#
#   bash launch/host.sh follow [arguments of rpt_jax.main]
#       starts the job in the background, unless it runs already, and prints its
#       log until it ends. A lost connection does not end the job. The code is
#       unpacked when no job runs, in place of what was there.
#   bash launch/host.sh run [arguments of rpt_jax.main]
#       the job itself: installs, mounts gs:// paths, joins the other hosts
set -euo pipefail

code="$HOME/rpt_jax"
job="$HOME/rpt_jax-job" # Holds lock, command, pid, log and exit code.

follow() {
  local command ended
  command="$(printf '%q ' "$@")"
  mkdir -p "$job"
  exec 9>>"$job/lock" # Held by the job as long as it lives.
  while true; do
    if flock --nonblock 9; then
      start "$@"
      break
    fi
    [ ! -s "$job/pid" ] || break
    sleep 0.2 # Another one is unpacking it.
  done
  if [ "$(cat "$job/command")" != "$command" ]; then
    echo "rpt_jax: refused: $(hostname) runs $(cat "$job/command");" \
      'wait for it, or end it with launch/tpu.sh delete'
    return 2
  fi
  exec 9>&-
  tail -n +1 -f --sleep-interval=0.2 --pid="$(cat "$job/pid")" "$job/log"
  ended="$(cat "$job/code" 2>/dev/null || echo 137)" # None: it was killed.
  [ "$ended" -eq 0 ] || echo "rpt_jax: ended with exit code $ended"
  return "$ended"
}

# Whoever comes meanwhile must not find the end of the job before.
start() {
  rm -f "$job/pid" "$job/code"
  unpack
  printf '%s\n' "$command" >"$job/command"
  : >"$job/log" # Now, as `tail` may come before the job.
  setsid bash "$code/launch/host.sh" keep "$@" </dev/null >>"$job/log" 2>&1 &
  echo $! >"$job/pid"
}

# Only the environment stays, as it takes minutes to make.
unpack() {
  mkdir -p "$code"
  find "$code" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
  tar -xzf "$HOME/rpt_jax.tar.gz" -C "$code"
}

keep() {
  local ended=0
  bash "$0" run "$@" || ended=$?
  echo "$ended" >"$job/code"
}

run() {
  local argument path arguments=()
  cd "$(dirname "$0")/.."
  . launch/environment.sh
  [ -x .venv/bin/python ] || find_python
  environment "${EXTRA:-tpu}"
  case "${EXTRA:-}" in *metaworld* | *dm_control*) rendering ;; esac
  for argument in "$@"; do
    if [[ "$argument" =~ ^(.*=)?gs://([^/]+)(/.*)?$ ]]; then
      path="$HOME/gcs/${BASH_REMATCH[2]}"
      argument="${BASH_REMATCH[1]}$path${BASH_REMATCH[3]}"
      mount_bucket "${BASH_REMATCH[2]}" "$path"
    fi
    arguments+=("$argument")
  done
  join
  exec python -m rpt_jax.main "${arguments[@]}"
}

# Sets PYTHON to 3.11 or newer; the older systems of TPUs come with 3.10.
find_python() {
  local python
  for python in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
      2>/dev/null; then
      PYTHON="$python"
      return
    fi
  done
  install_package software-properties-common
  as_root add-apt-repository -y ppa:deadsnakes/ppa >/dev/null
  install_package python3.12-venv
  PYTHON=python3.12
}

# Hosts must see at once what another one has written: nothing is cached.
mount_bucket() {
  mountpoint -q "$2" && return
  command -v gcsfuse >/dev/null || install_gcsfuse
  mkdir -p "$2"
  gcsfuse --implicit-dirs --rename-dir-limit=100000 \
    --metadata-cache-ttl-secs=0 --metadata-cache-negative-ttl-secs=0 \
    "$1" "$2" 9>&-
}

install_gcsfuse() {
  local key=/usr/share/keyrings/cloud.google.asc release
  release="$(. /etc/os-release && echo "$VERSION_CODENAME")"
  curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg |
    as_root tee "$key" >/dev/null
  echo "deb [signed-by=$key] https://packages.cloud.google.com/apt" \
    "gcsfuse-$release main" |
    as_root tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  install_package gcsfuse
}

install_package() {
  # A new host may still be at its own first updates.
  as_root apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -y -q "$@" >/dev/null
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Tells the processes of a TPU VM about each other, where nothing has yet.
join() {
  local workers index
  [ -z "${RPT_JAX_COORDINATOR:-}${TPU_WORKER_HOSTNAMES:-}" ] || return 0
  workers="$(metadata worker-network-endpoints)" || return 0
  index="$(metadata agent-worker-number)" || return 0
  IFS=, read -ra workers <<<"$workers"
  [ "${#workers[@]}" -gt 1 ] || return 0
  export RPT_JAX_COORDINATOR="${workers[0]##*:}:8476"
  export RPT_JAX_PROCESSES="${#workers[@]}" RPT_JAX_PROCESS="$index"
}

metadata() {
  curl -fs --max-time 10 --retry 3 --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

"$@"
