"""Prints what the shipped `twofold` is made of, as a CycloneDX 1.5 document: crates, licences, checksums, who needs whom.

usage: sbom.py WORKSPACE

The crates are those of `licences.py`. Libraries in C are the `...-sys` and `...-src` crates that bring their sources. The
same sources give the same document, byte for byte: it bears no time, and its serial number follows from its content.
"""

import json
import pathlib
import sys
import tomllib
import uuid
from urllib.parse import quote

from licences import cargo, linked_crates


def purl(crate):
    return f"pkg:cargo/{crate['name']}@{quote(crate['version'])}"


def component(crate, checksums):
    found = {"type": "library", "bom-ref": purl(crate), "name": crate["name"], "version": crate["version"]}
    if crate["license"]:
        # The form of old manifests.
        found["licenses"] = [{"expression": crate["license"].replace(" / ", "/").replace("/", " OR ")}]
    else:
        found["licenses"] = [{"license": {"name": f"see {crate['license_file']}"}}]
    found["hashes"] = [{"alg": "SHA-256", "content": checksums[crate["name"], crate["version"]]}]
    found["purl"] = purl(crate)
    if crate["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": crate["repository"]}]
    return found


def edges(metadata, linked):
    """By package: the linked packages that it needs to run or to be built."""

    def needed(node):
        return {
            dependency["pkg"]
            for dependency in node["deps"]
            if dependency["pkg"] in linked and any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        }

    return {node["id"]: needed(node) for node in metadata["resolve"]["nodes"]}


def document(workspace):
    lock = tomllib.loads((pathlib.Path(workspace) / "Cargo.lock").read_text())
    checksums = {(crate["name"], crate["version"]): crate.get("checksum") for crate in lock["package"]}
    metadata = json.loads(cargo(workspace, "metadata", "--format-version", "1", "--features", "twofold/vendored"))
    crates = {crate["id"]: crate for crate in linked_crates(workspace)}
    needs = edges(metadata, crates)
    ours = {crate["id"]: crate for crate in metadata["packages"] if not crate["source"]}
    shipped = next(crate for crate in ours.values() if crate["name"] == "twofold")
    # Our own crates are one thing to whoever runs the program; the tests are no part of it.
    of_ours = {need for member, crate in ours.items() if crate["name"] != "tests" for need in needs[member]}
    root = f"pkg:generic/twofold@{shipped['version']}"

    def depends(name, wanted):
        return {"ref": name, "dependsOn": sorted(purl(crates[need]) for need in wanted)}

    found = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "twofold",
                "version": shipped["version"],
                "licenses": [{"expression": shipped["license"]}],
                "purl": root,
            }
        },
        "components": [component(crate, checksums) for crate in crates.values()],
        "dependencies": [depends(root, of_ours)] + [depends(purl(crates[id]), needs[id]) for id in crates],
    }
    content = json.dumps(found, sort_keys=True)
    return {"serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, content).urn, **found}


def main():
    print(json.dumps(document(sys.argv[1]), indent=1))


if __name__ == "__main__":
    main()
