# shellcheck shell=bash
# Sourced by launch/local.sh and tests/run.sh. `environment [EXTRA]` makes .venv
# in the root of the repository, installs the package there, and activates it:
# with the versions of requirements.lock, or with LOCKED=0 the newest there are.
# `rendering` sees to the library with which MuJoCo draws without a display.
environment() {
  local extra="${1:+[$1]}" python="${PYTHON:-python3}" versions=()
  [ "${LOCKED:-1}" = 0 ] || versions=(--constraint launch/requirements.lock)
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "rpt_jax needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2
    return 2
  }
  # Debian's python3 comes without ensurepip: then its pip fills the venv.
  if [ ! -x .venv/bin/python ]; then
    "$python" -m venv .venv 2>/dev/null ||
      "$python" -m venv --clear --without-pip .venv
  fi
  if .venv/bin/python -m pip --version >/dev/null 2>&1; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
      "${versions[@]}" -e ".$extra"
  else
    "$python" -m pip --python .venv/bin/python install --quiet \
      --disable-pip-version-check "${versions[@]}" -e ".$extra"
  fi
  # shellcheck disable=SC1091
  . .venv/bin/activate
}

rendering() {
  local as_root=() install=(
    apt-get install -y -q --no-install-recommends libosmesa6
  )
  [ "$(uname -s)" = Linux ] || return 0
  python -c 'import ctypes.util, sys
sys.exit(not ctypes.util.find_library("OSMesa"))' && return 0
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  if { "${as_root[@]}" apt-get update -q && "${as_root[@]}" "${install[@]}"; } \
    >/dev/null 2>&1; then
    return 0
  fi
  echo "Meta-World cannot draw without OSMesa; as root: ${install[*]}" >&2
}
