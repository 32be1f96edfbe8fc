"""Builds the images and proves, in hardened containers, that they do what they must.

    make verify-images        # or: python scripts/verify_images.py

Needs docker or podman, curl, openssl and Linux with Landlock; as root on Debian, `apt-get install
podman runc netavark iptables` brings podman. Read from the environment:

ENGINE             docker or podman; default: the first that works
BUILD_OPTIONS      given to `build`, such as "--network host"; paths in them are absolute
BASE_IMAGE_SCRIPT  a program that makes python:3.12-slim where no registry can be reached; it is
                   run only where the image is not there
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from container_engine import Engine, EngineError, find_engine
from container_ways import WAYS
from image_proofs import Proof
from readme_proof import follow
from server_facts import ProofError, must

ROOT: Final = Path(__file__).resolve().parents[1]
BASE: Final = "docker.io/library/python:3.12-slim"
IMAGE: Final = "py-code-mode-session"
DOCKERFILE: Final = "examples/azure-container-apps/Dockerfile"
SUITE: Final = "py-code-mode-hostile"
SUITE_DOCKERFILE: Final = "tests/hostile/Dockerfile"
#: The server alone, as the Dockerfile says.
SMALL: Final = f"{IMAGE}:small"
SMALLER: Final[Mapping[str, str]] = {
    "EXTRAS": "server,redis",
    "PACKAGES": "",
    "WITHOUT": "numpy",
    "EMBEDDINGS": "lexical",
}
#: What an image may have over its base, in bytes.
_MOST: Final[Mapping[str, int]] = {IMAGE: 350_000_000, SMALL: 150_000_000}
_NEEDS: Final = """\
verify-images needs a container engine that works, and found none:
  - Docker: its daemon must run, and `docker info` must succeed as you; or
  - podman: as root on Debian, apt-get install podman runc netavark iptables
"""


def main(environ: Mapping[str, str], arguments: list[str]) -> int:
    """Build, prove and report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-build", action="store_true", help="take the image as it is")
    given = parser.parse_args(arguments)
    engine = find_engine(environ.get("ENGINE", ""))
    if engine is None:
        sys.stderr.write(_NEEDS)
        return 2
    try:
        if not given.no_build:
            build(engine, environ)
        return report(engine)
    except EngineError as error:
        sys.stderr.write(f"verify-images: {error}\n")
        return 1


def build(engine: Engine, environ: Mapping[str, str]) -> None:
    """Build the session image, and its base first where that was asked for."""
    script = environ.get("BASE_IMAGE_SCRIPT", "")
    if script and not engine.has_image(BASE):
        print(f"==> {script} makes {BASE}", flush=True)
        subprocess.run([script], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - asked for
    options = shlex.split(environ.get("BUILD_OPTIONS", ""))
    smaller = [word for pair in SMALLER.items() for word in ("--build-arg", "=".join(pair))]
    builds = [(IMAGE, DOCKERFILE, []), (SMALL, DOCKERFILE, smaller), (SUITE, SUITE_DOCKERFILE, [])]
    for image, dockerfile, more in builds:
        began = time.monotonic()
        engine.build(dockerfile, image, ROOT, [*options, *more])
        took = time.monotonic() - began
        print(f"==> built {image} with {engine.name} in {took:.0f} s", flush=True)


def report(engine: Engine) -> int:
    """Make every proof and print what it found; returns 0 where all of them hold."""
    small = Proof(engine, SMALL, WAYS[0], SUITE)
    sections: dict[str, dict[str, Callable[[], list[str]]]] = {
        IMAGE: {"size": lambda: _fits(engine, IMAGE), "README": lambda: follow(engine)},
        SMALL: {
            "size": lambda: _fits(engine, SMALL),
            "starts": small.starts,
            "serves": small.serves,
        },
    }
    for way in WAYS:
        proofs = Proof(engine, IMAGE, way, SUITE).all()
        sections[f"{IMAGE} as {way.name} (user {way.user})"] = proofs
    failures = 0
    for section, proofs in sections.items():
        print(f"==> {section}", flush=True)
        failures += sum(not _holds(name, prove) for name, prove in proofs.items())
    print(f"==> {failures} failed" if failures else "==> all proved", flush=True)
    return int(failures > 0)


def _holds(name: str, prove: Callable[[], list[str]]) -> bool:
    """Print what a proof found; returns whether it holds."""
    try:
        for fact in prove():
            print(f"ok    {fact}", flush=True)
    except (ProofError, EngineError) as error:
        print(f"FAIL  {name}: {error}", flush=True)
        return False
    return True


def _fits(engine: Engine, image: str) -> list[str]:
    over = engine.size(image) - (engine.size(BASE) if engine.has_image(BASE) else 0)
    said = f"{over / 1e6:.0f} MB over its base, at most {_MOST[image] / 1e6:.0f}"
    must(over <= _MOST[image], said)
    return [said]


if __name__ == "__main__":
    sys.exit(main(os.environ, sys.argv[1:]))
