# To be sourced. find_python: print a Python of 3.11 or later, from $PYTHON or the usual names.

is_new_enough() {
  command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  # A Debian with only python3.11 has no python3, so the default falls back to the versioned names.
  local candidates=("${PYTHON:-python3}")
  if [ "${PYTHON:-python3}" = python3 ]; then candidates+=(python3.13 python3.12 python3.11); fi
  for candidate in "${candidates[@]}"; do
    if is_new_enough "$candidate"; then
      echo "$candidate"
      return 0
    fi
  done
  echo "error: Python 3.11 or later is needed; tried: ${candidates[*]}. Install it, or name it: make PYTHON=/path/to/python3" >&2
  return 1
}

# make_venv PYTHON FOLDER: like python -m venv, but also where Debian keeps venv in a package of its own.
make_venv() {
  local version package
  if ! "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    package="python${version}-venv"
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
      echo "error: $1 cannot make virtual environments: its venv module is missing. On Debian: sudo apt-get install $package" >&2
      return 1
    fi
    echo "installing $package, which $1 needs to make virtual environments"
    apt_install "$package"
  fi
  "$1" -m venv "$2"
}

# apt_install PACKAGE...: quiet, asks nothing, starts no service.
apt_install() (
  export DEBIAN_FRONTEND=noninteractive
  policy=/usr/sbin/policy-rc.d
  log="$(mktemp)"
  cleanup() {
    rm -f "$log"
    if [ "${ours:-}" = 1 ]; then rm -f "$policy"; fi
  }
  trap cleanup EXIT
  if [ ! -e "$policy" ]; then # Debian's switch: 101 means that no package may start its service
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=1
  fi
  if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
    tail -n 15 "$log" >&2
    echo "error: apt-get could not install: $*" >&2
    exit 1
  fi
)
