# shellcheck shell=bash
# Sourced by the launchers. `call` runs a command; with DRY_RUN it prints it, as
# a shell would read it.
call() {
  if [ -n "${DRY_RUN:-}" ]; then
    printf '%q ' "$@" | sed 's/ $//'
    echo
  else
    "$@"
  fi
}
