# shellcheck shell=bash disable=SC2153,SC2154
# Sourced by launch/tpu.sh: a Kubernetes cluster, by xpk (pip install xpk). One
# that CLUSTER names may be shared: from it `delete` only takes the job away.
# Kubernetes itself starts a preempted job again; what else ended it, tpu.sh
# starts again.

own=''
if [ -z "${CLUSTER:-}" ]; then
  own=1 CLUSTER="$NAME-cluster"
fi
on=(--cluster="$CLUSTER" "${where[@]}")
pods=(--selector="xpk.google.com/workload=$NAME" --container=jax-tpu)
case "$ACCELERATOR" in
  v[456]*-[1-9]* | tpu7x-[1-9]*) accelerator="${ACCELERATOR/#v5e-/v5litepod-}" ;;
  *) die "ACCELERATOR=$ACCELERATOR: expected a --tpu-type of xpk, such as" \
    'v6e-16 or tpu7x-128' ;;
esac
[ -n "$DRY_RUN" ] || command -v xpk >/dev/null || die 'no xpk: pip install xpk'

create() {
  local capacity=--on-demand
  if [ -z "$own" ]; then
    [ -n "$DRY_RUN" ] || die "no cluster CLUSTER=$CLUSTER"
    return
  fi
  [ -z "${SPOT:-}" ] || capacity=--spot
  call xpk cluster create "${on[@]}" --tpu-type="$accelerator" --num-slices=1 \
    "$capacity" "${flags[@]}"
}

state() {
  local found
  found="$(ask gcloud container clusters list ${PROJECT:+--project="$PROJECT"} \
    --filter="name=$CLUSTER" --format='value(status)')" || return
  found="${found/#RECONCILING/RUNNING}"
  found="${found/#RUNNING/ACTIVE}"
  echo "${found:-NONE}"
}

execute() {
  local tree="${archive%.tar.gz}" command
  command="$(line 'bash rpt_jax/launch/host.sh run' "$@")" # Unpacked by xpk.
  call rm -rf "$tree" &&
    call mkdir -p "$tree/rpt_jax" &&
    call tar -xzf "$archive" -C "$tree/rpt_jax" &&
    drop &&
    call xpk workload create --workload="$NAME" "${on[@]}" \
      --tpu-type="$accelerator" --base-docker-image=python:3.12 \
      --script-dir="$tree" --max-restarts="$RETRIES" \
      --termination-grace-period-seconds=120 --command="$command" &&
    call xpk workload list "${on[@]}" --wait-for-job-completion="$NAME" &&
    call kubectl logs "${pods[@]}" --tail=-1
}

logs() { call kubectl logs "${pods[@]}" --tail=-1 --follow; }

drop() {
  call xpk workload delete --workload="$NAME" "${on[@]}" --force
}

delete() {
  drop || [ -n "$own" ] || return
  [ -z "$own" ] || call xpk cluster delete "${on[@]}" --force
}
