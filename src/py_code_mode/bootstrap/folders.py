"""Folders of files as a source and as what ``pull`` fills: one file per item, named like it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from py_code_mode.bootstrap.items import BadItemsError, Item, Kind, Problem
from py_code_mode.errors import ConfigurationError
from py_code_mode.store.file_errors import disk_errors
from py_code_mode.text import one_line

REQUIREMENTS = "requirements.txt"
#: What files cannot say: descriptions that skills have beside the one in their source.
DESCRIPTIONS = ".descriptions.json"
_SUFFIXES: Mapping[Kind, tuple[str, ...]] = {"tools": (".yaml", ".yml"), "skills": (".py",)}
#: Makes a folder of skills a package for linters; it is none of them.
_NOT_A_SKILL = "__init__.py"


def read_folder(path: Path, kind: Kind) -> list[Item]:
    """Return the items of a folder, or of the folder of this kind in it, in order.

    Raises:
        ConfigurationError: there is no such folder or file.
        StorageUnavailableError: it cannot be opened.
        BadItemsError: names every file that cannot be read.
    """
    with disk_errors(str(path)):
        if not path.exists():
            raise ConfigurationError(f"there is no {path}; give an existing folder")
        if kind == "deps":
            return _read_specs(path)
        if not path.is_dir():
            raise ConfigurationError(f"{path} is not a folder of {kind}")
        return _read_files(_within(path, kind), kind)


def write_folder(path: Path, kind: Kind, items: Iterable[Item]) -> None:
    """Write one file for each item where ``read_folder`` looks; remove none, tear none.

    Raises:
        StorageUnavailableError, StorageFullError: from the disk.
    """
    kept = list(items)
    with disk_errors(str(path)):
        path.mkdir(parents=True, exist_ok=True)
        if kind == "deps":
            _write(path / REQUIREMENTS, "".join(f"{item.text}\n" for item in kept))
            return
        path = _within(path, kind)
        for item in kept:
            _write(path / f"{item.name}{_SUFFIXES[kind][0]}", item.text)
        _write_descriptions(path, kept)


def _within(path: Path, kind: Kind) -> Path:
    """Return the folder of this kind in a storage folder, or the folder itself."""
    within = path / kind
    return within if within.is_dir() else path


def _read_files(folder: Path, kind: Kind) -> list[Item]:
    descriptions = _read_descriptions(folder) if kind == "skills" else {}
    items: list[Item] = []
    problems: list[Problem] = []
    for path in _files(folder, kind):
        text = _text(path, problems.append)
        if text is not None:
            name = path.stem
            items.append(Item(name, text, descriptions.get(name, ""), file=str(path)))
    if problems:
        raise BadItemsError(problems)
    return items


def _files(folder: Path, kind: Kind) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".") or path.name == _NOT_A_SKILL
        if path.suffix in _SUFFIXES[kind] and not hidden and not path.is_dir():
            yield path


def _read_specs(path: Path) -> list[Item]:
    file = path / REQUIREMENTS if path.is_dir() else path
    problems: list[Problem] = []
    text = _text(file, problems.append) if file.exists() else ""
    if text is None:
        raise BadItemsError(problems)
    lines = (line.partition(" #")[0].strip() for line in text.split("\n"))
    return [
        Item("", spec, file=str(file), line=number)
        for number, spec in enumerate(lines, start=1)
        if spec and not spec.startswith("#")
    ]


def _text(path: Path, refuse: Callable[[Problem], object]) -> str | None:
    try:
        # Bytes first: reading text would make line ends other ones than the file has.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        refuse(Problem(str(path), line, f"not UTF-8 text: {error.reason}"))
    except OSError as error:
        refuse(Problem(str(path), 1, f"cannot be read: {error.strerror}"))
    return None


def _read_descriptions(folder: Path) -> dict[str, str]:
    path = folder / DESCRIPTIONS
    try:
        found = json.loads(path.read_bytes())
        return {str(name): str(text) for name, text in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        problem = Problem(str(path), 1, f"not an object of texts by skill: {one_line(str(error))}")
        raise BadItemsError([problem]) from error


def _write_descriptions(folder: Path, items: Iterable[Item]) -> None:
    described = {item.name: item.description for item in items if item.description}
    if described:
        _write(folder / DESCRIPTIONS, json.dumps(described, indent=2, sort_keys=True) + "\n")
    else:
        with suppress(FileNotFoundError):
            os.unlink(folder / DESCRIPTIONS)


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(text.encode())
        os.replace(aside, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(aside)
