"""Prints the licence of every crate that is linked into the shipped `twofold`, with the texts that the crates carry.

usage: licences.py WORKSPACE

Libraries in C come as crates, too (`...-sys`, `...-src`), their texts a folder below. Crates of one text share it. A
crate that names no licence ends the run: what cannot be named must not be shipped.
"""

import json
import pathlib
import subprocess
import sys

NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")


def cargo(workspace, *arguments):
    call = ["cargo", *arguments, "--locked", "--manifest-path", f"{workspace}/Cargo.toml"]
    return subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked_crates(workspace):
    """The packages, as `cargo metadata` tells of them, that end up in the binary on this kind of machine."""
    tree = ["tree", "--package", "twofold", "--features", "vendored", "--prefix", "none", "--format", "{p}"]
    linked = {tuple(line.split()[:2]) for line in cargo(workspace, *tree, "--edges", "normal").splitlines()}
    built = {tuple(line.split()[:2]) for line in cargo(workspace, *tree, "--edges", "normal,build").splitlines()}
    # Sources of a library in C are needed at build time alone, but what is built of them is linked.
    linked |= {crate for crate in built if crate[0].endswith("-src")}
    metadata = cargo(workspace, "metadata", "--format-version", "1", "--features", "twofold/vendored")
    packages = json.loads(metadata)["packages"]
    crates = [
        package
        for package in packages
        if package["source"] and (package["name"], f"v{package['version']}") in linked
    ]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def texts_of(crate):
    folder = pathlib.Path(crate["manifest_path"]).parent
    folders = [folder]
    if crate["name"].endswith(("-sys", "-src")):
        folders += [below for below in sorted(folder.iterdir()) if below.is_dir()]
    files = [path for each in folders for path in sorted(each.iterdir()) if path.is_file()]
    return [path.read_text(errors="replace").strip() for path in files if path.name.upper().startswith(NAMES)]


def main():
    crates = linked_crates(sys.argv[1])
    unnamed = [crate["name"] for crate in crates if not (crate["license"] or crate["license_file"])]
    if unnamed:
        sys.exit(f"licences: no licence is named by {', '.join(unnamed)}")
    print(f"twofold links {len(crates)} crates. Their licences:\n")
    users = {}
    for crate in crates:
        print(f"{crate['name']} {crate['version']}: {crate['license'] or crate['license_file']}")
        for text in texts_of(crate):
            users.setdefault(text, []).append(f"{crate['name']} {crate['version']}")
    for text, names in users.items():
        print(f"\n{'-' * 80}\n{', '.join(names)}:\n\n{text}")


if __name__ == "__main__":
    main()
