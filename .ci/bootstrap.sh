#!/usr/bin/env bash
# Make FOLDER a virtual environment that holds exactly what LOCK names, checked by hash, and this package.
# Usage: .ci/bootstrap.sh FOLDER LOCK        (PYTHON=... chooses the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/python.sh

venv="$1" lock="$2"
if ! is_new_enough "$venv/bin/python"; then
  python="$(find_python)"
  echo "making $venv with $("$python" --version)"
  rm -rf "$venv"
  make_venv "$python" "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input -q)
echo "installing $lock"
"${pip[@]}" install --require-hashes -r "$lock"
# No isolation: the build uses the setuptools of the lock instead of fetching one without a hash.
"${pip[@]}" install --no-deps --no-build-isolation --editable .
