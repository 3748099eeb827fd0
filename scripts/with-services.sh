#!/usr/bin/env bash
# Runs a command beside real Kafka, Redis and S3 in a scratch folder, and ends them after it, however it ends.
#
#   with-services.sh COMMAND...
#
# The command finds their addresses in its environment (TWOFOLD_TEST_*). Where they cannot be had (no Java, Maven or
# Python) it runs without them and its tests say that they skip; with CI set that is a failure.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d)
outcome=failed

finish() {
  trap '' INT TERM
  # Those that a test had for itself and could not end.
  local own
  for own in "$dir"/own-*/; do
    if [ -e "$own/env" ]; then "$here/services.sh" down "$own"; fi
  done
  "$here/services.sh" down "$dir"
  if [ "$outcome" = done ]; then
    rm -rf "$dir"
  else
    # Their logs may say why; their data would only fill the disk.
    rm -rf "$dir"/{,own-*/}{kafka,redis,s3}
    echo "with-services: logs of Kafka, Redis and S3 are in $dir" >&2
  fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

started=0
"$here/services.sh" up "$dir" || started=$?
if [ "$started" -eq 0 ]; then
  set -a
  . "$dir/env"
  set +a
elif [ "$started" -eq 3 ] && [ -z "${CI:-}" ]; then
  cat >&2 <<TEXT

  ****************************************************************************
  * No real Kafka, Redis and S3 here (the lines above say what is missing).  *
  * Tests that need them are SKIPPED: each says so. In CI this is a failure. *
  ****************************************************************************

TEXT
else
  exit "$started"
fi

"$@"
outcome=done
