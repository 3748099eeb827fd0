#!/usr/bin/env bash
# DuckDB, which the differential test asks as a second engine: installed once, out of the clone.
#
#   duckdb.sh install              fetches it with pip where it is not there yet
#   duckdb.sh answer FROM TO       answers the questions of a file into another (duckdb/answer.py says how they look)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${TWOFOLD_TOOLS:-$HOME/.cache/twofold/tools}
duckdb=2.0.1

command -v python3 >/dev/null || { echo "duckdb: no python3 here: DuckDB cannot be installed" >&2; exit 3; }
# It holds machine code for one version of Python.
to="$tools/duckdb-$duckdb-$(python3 -c 'import sys; print(sys.implementation.cache_tag)')"

# To a name of its own, moved at the end: an interrupted install is never taken for whole.
install() {
  [ -d "$to" ] && return
  echo "duckdb: fetching DuckDB with pip" >&2
  rm -rf "$to.part"
  python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps \
    --target "$to.part" "duckdb==$duckdb" >&2
  mv "$to.part" "$to"
}

case "${1:-}" in
  install) install ;;
  answer)
    install
    usage="usage: duckdb.sh answer FROM TO"
    PYTHONPATH="$to" python3 "$here/duckdb/answer.py" "${2:?$usage}" "${3:?$usage}"
    ;;
  *)
    sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
