"""Tiny hand-made distributions for the tests of packages; none of them ever leaves its folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path


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


def sdist(folder: Path, name: str, version: str = "1.0", *, backend: str = "") -> Path:
    """Write a source distribution that brings its own build backend, the source ``backend``."""
    top = f"{name}-{version}"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": (
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        ),
        "backend.py": backend,
    }
    path = folder / f"{top}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for entry, text in files.items():
            member = tarfile.TarInfo(f"{top}/{entry}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path
