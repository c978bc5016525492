# shellcheck shell=bash disable=SC2153,SC2154
# Sourced by launch/tpu.sh: Cloud TPU queued resources, v2 to v6e.

tpus=(gcloud compute tpus)

case "$ACCELERATOR" in
  v6e-[1-9]*) runtime=v2-alpha-tpuv6e ;;
  v5p-[1-9]*) runtime=v2-alpha-tpuv5 ;;
  v5litepod-[1-9]* | v5e-[1-9]*) runtime=v2-alpha-tpuv5-lite ;;
  v[234]-[1-9]*) runtime=tpu-ubuntu2204-base ;;
  *) die "ACCELERATOR=$ACCELERATOR: expected v2, v3, v4, v5e, v5p or v6e and" \
    'a size, such as v6e-8; TPU7x is for BACKEND=compute or gke' ;;
esac

create() {
  call "${tpus[@]}" queued-resources create "$NAME" --node-id="$NAME" \
    "${where[@]}" --accelerator-type="${ACCELERATOR/#v5e-/v5litepod-}" \
    --runtime-version="${RUNTIME:-$runtime}" ${SPOT:+--spot} "${flags[@]}"
}

# The request's state; once it is ACTIVE that of the node, which a preemption
# changes first.
state() {
  local found
  found="$(ask "${tpus[@]}" queued-resources describe "$NAME" "${where[@]}" \
    --format='value(state.state)')" || return
  if [ "$found" = ACTIVE ]; then
    found="$(ask "${tpus[@]}" tpu-vm describe "$NAME" "${where[@]}" \
      --format='value(state)')" || return
    found="${found/#READY/ACTIVE}"
    found="${found:-TERMINATED}"
  fi
  echo "${found:-NONE}"
}

execute() {
  call "${tpus[@]}" tpu-vm scp "$archive" "$NAME:rpt_jax.tar.gz" \
    "${where[@]}" --worker=all --quiet &&
    call "${tpus[@]}" tpu-vm ssh "$NAME" "${where[@]}" --worker=all --quiet \
      --command="$(remote "$@")"
}

logs() {
  call "${tpus[@]}" tpu-vm ssh "$NAME" "${where[@]}" --worker=0 --quiet \
    --command='tail -n +1 -F rpt_jax-job/log'
}

# A dead request keeps its quota until it is deleted.
delete() {
  call "${tpus[@]}" queued-resources delete "$NAME" "${where[@]}" --force \
    --quiet
}
