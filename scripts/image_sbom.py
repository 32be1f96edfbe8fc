"""Lists what the session image consists of, as CycloneDX 1.6, from what is installed in it.

make sbom                 # or: python scripts/image_sbom.py [--image IMAGE] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from container_engine import Engine, EngineError, find_engine

ROOT: Final = Path(__file__).resolve().parents[1]
#: Tab-separated in both: name, version, and what else the purl needs.
_DEBIAN: Final = "dpkg-query --show --showformat '${Package}\\t${Version}\\t${Architecture}\\n'"
_PYTHON: Final = """\
import importlib.metadata as m, platform
for d in m.distributions():
    print(d.name, d.version, d.metadata.get("License-Expression") or "", sep="\\t")
print("python", platform.python_version(), "", sep="\\t")
"""
Component = dict[str, Any]


def main(environ: Mapping[str, str], arguments: list[str]) -> int:
    """Ask the image and write the list; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="py-code-mode-session")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "sbom.cdx.json")
    given = parser.parse_args(arguments)
    engine = find_engine(environ.get("ENGINE", ""))
    if engine is None:
        sys.stderr.write("sbom needs docker or podman, and found neither at work\n")
        return 2
    try:
        components = installed(engine, given.image)
    except EngineError as error:
        sys.stderr.write(f"sbom: {error}; build the image first: make verify-images\n")
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(document(given.image, components), indent=1) + "\n")
    print(f"{len(components)} components in {os.path.relpath(given.out)}")
    return 0


def installed(engine: Engine, image: str) -> list[Component]:
    """Return what is installed in an image. Raises EngineError."""
    run = ("run", "--rm", "--network", "none", "--read-only", "--entrypoint")
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    debian = engine.must(*run, "sh", *limits, image, "-c", _DEBIAN)
    python = engine.must(*run, "python", *limits, image, "-c", _PYTHON)
    which = ". /etc/os-release; echo $ID-$VERSION_ID"
    release = engine.must(*run, "sh", *limits, image, "-c", which)
    found = [debian_component(line, release) for line in debian.splitlines()]
    found += [python_component(line) for line in python.splitlines()]
    return sorted(found, key=lambda component: str(component["purl"]))


def debian_component(line: str, release: str) -> Component:
    """Return one Debian package, as dpkg-query shows it."""
    name, version, architecture = line.split("\t")
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro={release}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def python_component(line: str) -> Component:
    """Return one Python distribution, or the interpreter itself."""
    name, version, license_expression = line.split("\t")
    purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}"
    if name == "python":
        purl = f"pkg:generic/python@{version}"
    made = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    licenses = {"licenses": [{"expression": license_expression}]} if license_expression else {}
    return {**made, **licenses}


def document(image: str, components: list[Component]) -> dict[str, Any]:
    """Return the whole document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": {"type": "container", "name": image},
        },
        "components": components,
    }


if __name__ == "__main__":
    sys.exit(main(os.environ, sys.argv[1:]))
