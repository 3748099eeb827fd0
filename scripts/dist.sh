#!/usr/bin/env bash
# Packs a built `twofold` for people who do not want to build: an archive, a Debian package, a Python wheel, checksums.
#
#   dist.sh BINARY FOLDER     packs BINARY into FOLDER, which is made anew; with TWOFOLD_DIST_FAST set compresses little
#
# Each of the three holds the binary, the default configuration, the examples, the licence texts of everything that is
# linked into it, and a bill of materials of it (CycloneDX). What they need of the machine is read from the binary: no more than a C library of its age or a newer one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${TWOFOLD_TOOLS:-$HOME/.cache/twofold/tools}
wheel=0.45.1

fail() {
  echo "dist: $*" >&2
  exit 1
}

[ $# -eq 2 ] || fail "usage: $0 BINARY FOLDER"
binary=$(realpath "$1")
[ -x "$binary" ] || fail "$binary is not a program"
rm -rf "$2"
mkdir -p "$2"
out=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

version=$("$binary" --version | awk '{print $2}')
machine=$(uname -m)
case $machine in
  x86_64) debian=amd64 ;;
  aarch64) debian=arm64 ;;
  *) fail "no package name is known for machine $machine" ;;
esac
# The newest symbol version that the binary asks of the C library.
glibc=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9][0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
[ -n "$glibc" ] || fail "$binary does not say which C library it needs"
foreign=$(objdump -p "$binary" | awk '/NEEDED/ {print $2}' | grep -Ev '^(libc|libm|libgcc_s|libpthread|libdl|ld-linux.*)\.so' || true)
[ -z "$foreign" ] || [ -n "${TWOFOLD_DIST_ALLOW_SHARED:-}" ] ||
  fail "$binary needs $(echo "$foreign" | xargs): what is shipped is built with \`make release\`"

# The files that every package holds.
tree="$work/tree"
install -D -m 755 "$binary" "$tree/bin/twofold"
strip "$tree/bin/twofold"
install -D -m 644 "$here/config/default.toml" "$tree/config/default.toml"
install -D -m 644 "$here/README.md" "$tree/README.md"
install -D -m 644 "$here/LICENSE" "$tree/LICENSE"
cp -r "$here/examples" "$tree/examples"
python3 "$here/scripts/dist/licences.py" "$here" > "$tree/LICENCES-OF-DEPENDENCIES.txt"
python3 -B "$here/scripts/dist/sbom.py" "$here" > "$tree/twofold.cdx.json"

archive="twofold-$version-$machine-linux"
mkdir "$work/archive"
cp -r "$tree" "$work/archive/$archive"
tar -C "$work/archive" --owner=0 --group=0 --sort=name -I "gzip ${TWOFOLD_DIST_FAST:+-1}" -cf "$out/$archive.tar.gz" "$archive"

# Debian: programs below /usr, the configuration as a sample, since every setting has a default.
package="$work/debian"
install -D -m 755 "$tree/bin/twofold" "$package/usr/bin/twofold"
install -d "$package/usr/share/doc/twofold" "$package/DEBIAN"
cp -r "$tree/config" "$tree/examples" "$tree/README.md" "$tree/twofold.cdx.json" "$package/usr/share/doc/twofold/"
cat "$tree/LICENSE" "$tree/LICENCES-OF-DEPENDENCIES.txt" > "$package/usr/share/doc/twofold/copyright"
cat > "$package/DEBIAN/control" <<CONTROL
Package: twofold
Version: $version
Architecture: $debian
Maintainer: The Twofold authors <twofold@localhost>
Installed-Size: $(du -sk "$package/usr" | cut -f 1)
Depends: libc6 (>= $glibc), libgcc-s1, ca-certificates
Section: database
Priority: optional
Description: aggregate questions over an event stream, fresh and exact
 Twofold keeps the answers to aggregate questions over an event stream fresh
 to the second and exact in the end: one SQL definition, a speed layer and a
 batch layer, merged per query.
CONTROL
dpkg-deb ${TWOFOLD_DIST_FAST:+-Zgzip -z1} --root-owner-group --build "$package" "$out/twofold_${version}_$debian.deb" >/dev/null

# Python: a wheel that only carries the program. Its tag says which C library it needs.
if [ ! -d "$tools/wheel-$wheel" ]; then
  rm -rf "$tools/wheel-$wheel.part"
  python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps \
    --target "$tools/wheel-$wheel.part" "wheel==$wheel"
  mv "$tools/wheel-$wheel.part" "$tools/wheel-$wheel"
fi
tag="py3-none-manylinux_${glibc/./_}_$machine"
python="$work/twofold-$version"
info="$python/twofold-$version.dist-info"
install -D -m 755 "$tree/bin/twofold" "$python/twofold-$version.data/scripts/twofold"
install -d "$info/licenses" "$info/sboms" "$python/twofold-$version.data/data/share/twofold"
cp -r "$tree/config" "$tree/examples" "$python/twofold-$version.data/data/share/twofold/"
cp "$tree/LICENSE" "$tree/LICENCES-OF-DEPENDENCIES.txt" "$info/licenses/"
cp "$tree/twofold.cdx.json" "$info/sboms/"
printf 'Wheel-Version: 1.0\nGenerator: twofold scripts/dist.sh\nRoot-Is-Purelib: false\nTag: %s\n' "$tag" > "$info/WHEEL"
{
  printf 'Metadata-Version: 2.4\nName: twofold\nVersion: %s\n' "$version"
  printf 'Summary: Answers to aggregate questions over an event stream, fresh to the second and exact in the end\n'
  printf 'License-Expression: Apache-2.0\nLicense-File: LICENSE\nLicense-File: LICENCES-OF-DEPENDENCIES.txt\n'
  printf 'Requires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n'
  cat "$tree/README.md"
} > "$info/METADATA"
PYTHONPATH="$tools/wheel-$wheel" python3 -m wheel pack "$python" --dest-dir "$out" >/dev/null

(cd "$out" && sha256sum -- *.tar.gz *.deb *.whl > SHA256SUMS)
ls -l "$out"
