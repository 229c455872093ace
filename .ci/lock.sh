#!/usr/bin/env bash
# Solve pyproject.toml into requirements.lock, requirements-dev.lock and requirements-fuzz.lock, every file by its hash.
# Usage: .ci/lock.sh [--upgrade]. Run it with Python 3.11, the oldest that is supported.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/python.sh

tools=build/lock-tools
if [ ! -x "$tools/bin/pip-compile" ]; then
  make_venv "$(find_python)" "$tools"
  "$tools/bin/python" -m pip --disable-pip-version-check -q install 'pip-tools>=7.5,<8'
fi

# No options are written down: where packages come from is the business of each machine, not of this repository.
compile() {
  "$tools/bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-emit-options \
    "$@" pyproject.toml .ci/lock.in
}
compile "$@" --output-file requirements.lock
compile "$@" --extra test --extra lint --constraint requirements.lock --output-file requirements-dev.lock
compile "$@" --extra fuzz --constraint requirements-dev.lock --output-file requirements-fuzz.lock
echo "wrote requirements.lock, requirements-dev.lock and requirements-fuzz.lock; now: make test check"
