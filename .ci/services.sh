#!/usr/bin/env bash
# See to it that the servers which tests talk to are there: Redis, and Alertmanager with amtool.
# Installs Debian's where it may, starts nothing. With CI=true a missing one is an error, else its tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/python.sh

have() { command -v "$1" >/dev/null 2>&1; }
missing() {
  have redis-server || echo redis-server
  { { have prometheus-alertmanager || have alertmanager; } && have amtool; } || echo prometheus-alertmanager
}

mapfile -t packages < <(missing)
[ "${#packages[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && have apt-get; then
  echo "installing for the tests: ${packages[*]}"
  apt_install "${packages[@]}" || true # judged by what is there now
  mapfile -t packages < <(missing)
fi

[ "${#packages[@]}" -gt 0 ] || exit 0
if [ "${CI:-}" = true ]; then
  echo "error: missing: ${packages[*]}; with CI=true no test may be skipped. Install them and run again." >&2
  exit 1
fi
echo "note: missing: ${packages[*]}; the tests that need them will be skipped."
