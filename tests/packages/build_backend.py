"""The build backend of the source distributions of these tests; what each one does is appended.

It builds a wheel of one module, in which ``report`` is what the build has to say.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from typing import Any

NAME, VERSION = "source", "1.0"
REPORT: Any = None


def make(
    name: str = "",
    version: str = "",
    files: Mapping[str, str] | None = None,
    folder: str = ".",
) -> str:
    """Write a wheel and return its name."""
    name, version = name or NAME, version or VERSION
    info = f"{name}-{version}.dist-info"
    made = f"{name}-{version}-py3-none-any.whl"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(os.path.join(folder, made), "w") as wheel:
        for path, text in (files or {f"{name}.py": f"report = {REPORT!r}\n"}).items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return made


def build_wheel(folder: str, *_: object) -> str:
    """Do what PEP 517 says."""
    return make(folder=folder)
