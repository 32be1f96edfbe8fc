"""Builds a wheel from a source distribution. Its text is run in a jail, where no file of ours is.

The jail's folder is the current one. Each step is a run of its own:

``receive FILE``          append standard input to a file
``declared``              unpack ``source.tar``; answer the requirements that its project declares
``asked REQUIRES``        unpack ``REQUIRES.tar``; answer those that its build backend asks for
``wheel REQUIRES``        build; answer the wheel's name, a line break, and the wheel

Standard library alone. Whatever goes wrong ends the process with a traceback.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import site
import sys
import tarfile
import tomllib
from collections.abc import Callable
from typing import Any, BinaryIO, Final

_SOURCE: Final = os.path.abspath("source")
_WHEELS: Final = os.path.abspath("wheels")
#: What PEP 517 and 518 say of a project that does not say it itself.
_REQUIRES: Final = ["setuptools>=40.8.0"]
_BACKEND: Final = "setuptools.build_meta:__legacy__"


def main(step: str, *names: str) -> None:
    """Do one step. What the backend prints goes where errors go; the answer is the output."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        _STEPS[step](answer, *names)


def _receive(_answer: BinaryIO, name: str) -> None:
    with open(name, "ab") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)


def _declared(answer: BinaryIO) -> None:
    _unpack("source")
    _tell(answer, _project().get("requires", _REQUIRES))


def _asked(answer: BinaryIO, requires: str) -> None:
    _unpack(requires)
    hook = getattr(_backend(requires), "get_requires_for_build_wheel", None)
    _tell(answer, [] if hook is None else hook(None))


def _wheel(answer: BinaryIO, requires: str) -> None:
    if not os.path.isdir(requires):
        _unpack(requires)
    os.mkdir(_WHEELS)
    name = _backend(requires).build_wheel(_WHEELS, None)
    with open(os.path.join(_WHEELS, name), "rb") as file:
        answer.write(f"{name}\n".encode())
        shutil.copyfileobj(file, answer)


_STEPS: Final[dict[str, Callable[..., None]]] = {
    "receive": _receive,
    "declared": _declared,
    "asked": _asked,
    "wheel": _wheel,
}


def _tell(answer: BinaryIO, requirements: object) -> None:
    answer.write(json.dumps(requirements).encode())


def _unpack(name: str) -> None:
    os.makedirs(name, exist_ok=True)
    with tarfile.open(f"{name}.tar") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since 3.11.4
        archive.extractall(name)  # noqa: S202 - in a jail, where nothing else is to be had
    os.unlink(f"{name}.tar")


def _project() -> dict[str, Any]:
    """Return the project's ``build-system`` table."""
    try:
        with open(os.path.join(_SOURCE, "pyproject.toml"), "rb") as file:
            table = tomllib.load(file).get("build-system", {})
    except FileNotFoundError:
        return {}
    return table if isinstance(table, dict) else {}


def _backend(requires: str) -> Any:
    """Load the build backend as PEP 517 says, in the project's folder."""
    project = _project()
    os.chdir(_SOURCE)
    requires = os.path.join(os.path.dirname(_SOURCE), requires)
    # For what the backend starts with the same interpreter.
    os.environ["PYTHONPATH"] = requires
    site.addsitedir(requires)
    sys.path.remove(requires)
    sys.path.insert(0, requires)
    in_tree = [os.path.join(_SOURCE, each) for each in project.get("backend-path", ())]
    sys.path[:0] = in_tree
    name, _, attributes = str(project.get("build-backend") or _BACKEND).partition(":")
    backend = importlib.import_module(name)
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    return backend


if __name__ == "__main__":
    main(*sys.argv[1:])
