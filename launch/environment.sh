# Sourced by launch/local.sh and tests/run.sh: `environment [EXTRA]` makes .venv
# in the root of the repository, installs the package there, and activates it.
environment() {
  local extra="${1:+[$1]}" python="${PYTHON:-python3}"
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
      -e ".$extra"
  else
    "$python" -m pip --python .venv/bin/python install --quiet \
      --disable-pip-version-check -e ".$extra"
  fi
  . .venv/bin/activate
}
