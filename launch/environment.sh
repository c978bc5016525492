# shellcheck shell=bash
# Sourced by launch/local.sh and tests/run.sh. `environment [EXTRA]` makes .venv
# in the root of the repository, installs the package there, and activates it:
# with the versions of requirements.lock, or with LOCKED=0 the newest there are.
# `rendering` sees to the library with which MuJoCo draws without a display,
# `browsing` to the browser in which pages are tested.
environment() {
  local extra="${1:+[$1]}" python="${PYTHON:-python3}" versions=()
  [ "${LOCKED:-1}" = 0 ] || versions=(--constraint launch/requirements.lock)
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "rpt_jax needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2
    return 2
  }
  # Debian's python3 comes without ensurepip: then its pip fills the venv.
  if [ ! -x .venv/bin/python ]; then
    echo "rpt_jax: installing into $PWD/.venv, which takes minutes" >&2
    "$python" -m venv .venv 2>/dev/null ||
      "$python" -m venv --clear --without-pip .venv
  fi
  local pip=(.venv/bin/python -m pip)
  if ! "${pip[@]}" --version >/dev/null 2>&1; then
    if "$python" -m pip --python .venv/bin/python --version >/dev/null 2>&1; then
      pip=("$python" -m pip --python .venv/bin/python)
    elif ! "$python" -m venv .venv >/dev/null 2>&1; then # Now it may have it.
      echo "rpt_jax needs pip; on Debian, as root:" \
        "apt-get install python3-venv" >&2
      return 2
    fi
  fi
  # A dependency has an old setup.py, of which an old pip would complain.
  "${pip[@]}" install --quiet --disable-pip-version-check --use-pep517 \
    "${versions[@]}" -e ".$extra"
  # shellcheck disable=SC1091
  . .venv/bin/activate
}

rendering() {
  [ "$(uname -s)" = Linux ] || return 0
  python -c 'import ctypes.util, sys
sys.exit(not ctypes.util.find_library("OSMesa"))' && return 0
  debian libosmesa6 || echo "Meta-World cannot draw without OSMesa" >&2
}

browsing() {
  [ "$(uname -s)" = Linux ] || return 0
  command -v chromium chromium-browser google-chrome >/dev/null && return 0
  debian chromium || echo "pages cannot be tested without Chromium" >&2
}

# debian PACKAGE: installs it as root or with sudo, or says how.
debian() {
  local as_root=() install=(
    apt-get install -y -q --no-install-recommends "$1"
  )
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  "${as_root[@]}" apt-get update -q >/dev/null 2>&1 &&
    "${as_root[@]}" "${install[@]}" >/dev/null 2>&1 && return 0
  echo "not installed; as root: ${install[*]}" >&2
  return 1
}
