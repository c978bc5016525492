# shellcheck shell=bash disable=SC2153,SC2154
# Sourced by launch/tpu.sh: a slice of Compute Engine instances (TPU7x and
# later): an instance template, a workload policy with the topology, and a
# managed group of as many instances as the slice has hosts.

machine_of=([7]=tpu7x-standard-4t [6]=ct6e-standard-4t [5]=ct5p-hightpu-4t)
case "$ACCELERATOR" in
  tpu7x:*) generation=7 ;;
  v6e:*) generation=6 ;;
  v5p:*) generation=5 ;;
  *) generation='' ;;
esac
topology="${ACCELERATOR#*:}"
[[ -n "$generation" && "$topology" =~ ^[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] ||
  die "ACCELERATOR=$ACCELERATOR: expected tpu7x, v6e or v5p and a topology," \
    'such as tpu7x:4x4x4'
hosts=$(((${topology//x/*} + 3) / 4)) # Four chips each.
for name in IMAGE_FAMILY IMAGE_PROJECT; do
  [ -n "${!name:-}" ] || die "no $name: the boot image of the instances, see" \
    'cloud.google.com/compute/docs/tpus'
done
project=(${PROJECT:+--project="$PROJECT"})
region=(--region="${ZONE%-*}" "${project[@]}")
group=(gcloud compute instance-groups managed)

# The name, if something of this kind has it already.
there() {
  [ -n "$DRY_RUN" ] || ask gcloud compute "$1" describe "$NAME" \
    --format='value(name)' "${@:2}"
}

create() {
  local policy=() found
  if [ "$hosts" -gt 1 ]; then
    policy=(--workload-policy="$NAME")
    found="$(there resource-policies "${region[@]}")" || return
    [ -n "$found" ] ||
      call gcloud compute resource-policies create workload-policy "$NAME" \
        "${region[@]}" --type=HIGH_THROUGHPUT \
        --accelerator-topology="$topology" || return
  fi
  found="$(there instance-templates "${project[@]}")" || return
  [ -n "$found" ] ||
    call gcloud compute instance-templates create "$NAME" "${project[@]}" \
      --machine-type="${MACHINE:-${machine_of[generation]}}" \
      --image-family="$IMAGE_FAMILY" --image-project="$IMAGE_PROJECT" \
      --maintenance-policy=TERMINATE --scopes=cloud-platform \
      ${SPOT:+--provisioning-model=SPOT --instance-termination-action=STOP} \
      "${flags[@]}" || return
  call "${group[@]}" create "$NAME" "${where[@]}" --size="$hosts" \
    --template="$NAME" --default-action-on-vm-failure=do-nothing "${policy[@]}"
}

instances() {
  ask "${group[@]}" list-instances "$NAME" "${where[@]}" --format="value($1)"
}

state() {
  local found
  found="$(instances instanceStatus)" || return
  if [ -n "$DRY_RUN" ]; then
    echo "$found"
  elif [ -z "$found" ]; then
    found="$(ask "${group[@]}" describe "$NAME" "${where[@]}" \
      --format='value(name)')" || return
    [ -z "$found" ] && echo NONE || echo PROVISIONING
  elif grep -qE 'STOP|SUSPEND|TERMINATED' <<<"$found"; then
    echo TERMINATED
  elif [ "$(grep -c RUNNING <<<"$found")" -eq "$hosts" ]; then
    echo ACTIVE
  else
    echo PROVISIONING
  fi
}

# The hosts are told who they are: the first is the coordinator.
execute() {
  local names i code=0 running=()
  if [ -n "$DRY_RUN" ]; then
    instances 'instance.basename()'
    mapfile -t names < <(seq -f "$NAME-%g" 0 "$((hosts - 1))")
  else
    mapfile -t names < <(instances 'instance.basename()' | sort)
  fi
  for i in "${!names[@]}"; do
    on_host "${names[i]}" "RPT_JAX_COORDINATOR=${names[0]}:8476 \
RPT_JAX_PROCESSES=${#names[@]} RPT_JAX_PROCESS=$i" "$@" &
    running+=($!)
    [ -z "$DRY_RUN" ] || wait "$!"
  done
  for i in "${running[@]}"; do
    wait "$i" || code=$?
  done
  return "$code"
}

on_host() {
  local command
  command="export $2; $(remote "${@:3}")"
  call gcloud compute scp "$archive" "$1:rpt_jax.tar.gz" "${where[@]}" \
    --quiet &&
    call gcloud compute ssh "$1" "${where[@]}" --quiet --command="$command"
}

logs() {
  local first
  first="$(instances 'instance.basename()' | sort | head -n 1)"
  [ -z "$DRY_RUN" ] || first="$NAME-0"
  call gcloud compute ssh "$first" "${where[@]}" --quiet \
    --command='tail -n +1 -F rpt_jax-job/log'
}

# All parts, also where one is missing or cannot be deleted.
delete() {
  local code=0
  call "${group[@]}" delete "$NAME" "${where[@]}" --quiet || code=$?
  call gcloud compute instance-templates delete "$NAME" "${project[@]}" \
    --quiet || code=$?
  [ "$hosts" -eq 1 ] ||
    call gcloud compute resource-policies delete "$NAME" "${region[@]}" \
      --quiet || code=$?
  return "$code"
}
