"""Tiny hand-made distributions for the tests of packages; none of them ever leaves its folder."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str | bytes] | None = None,
    requires: Iterable[str] = (),
    extras: Iterable[str] = (),
    metadata: str = "",
    tag: str = "py3-none-any",
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel, by default of one module ``name`` with a ``__version__``; ``links`` are
    entries that claim to be symbolic links."""
    content: dict[str, str | bytes] = {f"{name}.py": f"__version__ = {version!r}\n"}
    if files is not None:
        content = dict(files)
    info = f"{name}-{version}.dist-info"
    headers = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", metadata]
    headers += [f"Provides-Extra: {extra}\n" for extra in extras]
    headers += [f"Requires-Dist: {requirement}\n" for requirement in requires]
    content[f"{info}/METADATA"] = "".join(headers)
    content[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    )
    recorded = [*content, *(links or {}), f"{info}/RECORD"]
    content[f"{info}/RECORD"] = "".join(f"{entry},,\n" for entry in recorded)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, text in content.items():
            archive.writestr(entry, text)
        for entry, target in (links or {}).items():
            link = zipfile.ZipInfo(entry)
            link.create_system = 3
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
    return path


def installed_wheel(folder: Path, name: str) -> Path:
    """Write the wheel that an installed distribution came from, without what pip adds to it."""
    found = distribution(name)
    made = folder / f"{name}-{found.version}-py3-none-any.whl"
    info = f"{name}-{found.version}.dist-info"
    added = {f"{info}/{file}" for file in ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")}
    files = [
        file
        for file in found.files or ()
        if file.suffix != ".pyc" and ".." not in file.parts and str(file) not in added
    ]
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr(str(file), file.read_binary())
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in files))
    return made


_BACKEND = (Path(__file__).parent / "build_backend.py").read_text(encoding="utf-8")


def sdist(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    backend: str | None = None,
    attempt: str = "",
    requires: Iterable[str] = (),
    project: str | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a source distribution that brings its own build backend, the source ``backend``.

    By default that is one that builds a module ``name`` with a ``report``; ``attempt`` is what it
    does first, and may set ``REPORT``. ``project`` is the whole ``pyproject.toml``.
    """
    top = f"{name}-{version}"
    if backend is None:
        backend = f"{_BACKEND}\nNAME, VERSION = {name!r}, {version!r}\n{dedent(attempt)}"
    content = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": (
            f"[build-system]\nrequires = {json.dumps([*requires])}\n"
            'build-backend = "backend"\nbackend-path = ["."]\n'
        ),
        "backend.py": backend,
        **(files or {}),
    }
    if project is not None:
        content["pyproject.toml"] = project
    path = folder / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for entry, text in content.items():
            member = tarfile.TarInfo(f"{top}/{entry}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path
