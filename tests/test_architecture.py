"""The shape of the code is a promise too: layers, sizes, names and what may import what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import py_code_mode

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
HOST = SRC / "py_code_mode"
GUEST = SRC / "py_code_mode_guest"

MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 40
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base_manager"}
GUEST_LIBRARIES = {"msgpack", "cloudpickle", "py_code_mode_guest"}
#: Agent code brings these; the guest looks at their values, and only when they are there.
OPTIONAL_LIBRARIES = {"numpy", "pandas", "matplotlib", "PIL"}
#: Modules that only their library loads, so that it is there whenever they are.
PLUGINS = {"mpl_backend": "matplotlib"}
GENERATED = {".git", ".hypothesis", ".code-mode", "__pycache__", "build", "dist", "demo-output"}
PACKAGING = {"constraints.txt", "pyproject.toml", "Makefile", ".ci", ".github"}

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_the_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, (
        "an import breaks a contract of pyproject.toml: move the code to the layer that may have "
        f"the import\n{result.stdout}{result.stderr}"
    )


def test_the_guest_imports_the_standard_library_msgpack_and_cloudpickle_only() -> None:
    allowed = GUEST_LIBRARIES | sys.stdlib_module_names
    offences = []
    for path in python_files(GUEST):
        for node, name, late in imports(path):
            optional = late and name in OPTIONAL_LIBRARIES
            if name not in allowed and not optional and name != PLUGINS.get(path.stem):
                offences.append(f"{place(path, node)} imports {name}")
    assert not offences, report(
        "the guest runs beside untrusted code and stays small: do without the library, or import "
        f"{sorted(OPTIONAL_LIBRARIES)} inside the function that needs it",
        offences,
    )


def test_modules_stay_short() -> None:
    lengths = ((path, len(source(path).splitlines())) for path in python_files(SRC))
    offences = [f"{relative(path)}: {n} lines" for path, n in lengths if n > MAX_MODULE_LINES]
    assert not offences, report(
        f"a module has one subject and {MAX_MODULE_LINES} lines at most: split it", offences
    )


def test_functions_stay_short() -> None:
    offences = [
        f"{place(path, node)} {node.name}: {length} lines"
        for path in python_files(SRC)
        for node in ast.walk(tree(path))
        if isinstance(node, FUNCTION)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not offences, report(
        f"a function has {MAX_FUNCTION_LINES} lines at most: take a step out of it", offences
    )


def test_no_module_has_a_vague_name() -> None:
    files = chain(python_files(SRC), python_files(ROOT / "tests"))
    offences = [relative(path) for path in files if {path.stem, path.parent.name} & VAGUE_NAMES]
    assert not offences, report("name the module after its one subject", offences)


def test_the_environment_is_read_by_the_settings_and_the_command_line_only() -> None:
    offences = [
        place(path, node)
        for path in python_files(HOST)
        if path != HOST / "settings.py" and HOST / "cli" not in path.parents
        for node in ast.walk(tree(path))
        if reads_environment(node)
    ]
    assert not offences, report("take the value as an argument; settings.py reads it", offences)


def test_everything_public_has_a_docstring() -> None:
    offences = [
        f"{place(path, node)} {getattr(node, 'name', 'module')}"
        for path in python_files(SRC)
        for node in public_nodes(path)
        if not ast.get_docstring(node)
    ]
    assert not offences, report("say what the name and the types do not say", offences)


def test_no_file_holds_a_secret_or_the_path_of_a_developers_machine() -> None:
    everywhere = re.compile(
        r"/(home|Users)/[A-Za-z]\w*/|[.]pyenv/|-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[A-Z0-9]{16}\b"
        r"|\b(sk-[a-z]+-|gh[pousr]_|xox[bp]-)[A-Za-z0-9_-]{20,}"
    )
    packaging = re.compile(r"index-url|find-links|trusted-host|file://")
    offences = []
    for path in tracked_files():
        is_packaging = relative(path).split("/")[0] in PACKAGING
        for number, line in enumerate(text_lines(path), start=1):
            if everywhere.search(line) or (is_packaging and packaging.search(line)):
                offences.append(f"{relative(path)}:{number}: {line.strip()[:80]}")
    assert not offences, report("remove it: the repository is read by everyone", offences)


def test_the_changelog_speaks_of_this_version() -> None:
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None, "CHANGELOG.md has no '## [version]' heading"
    assert newest[1] == py_code_mode.__version__, "bring CHANGELOG.md and _version.py together"


def test_every_silenced_check_says_which_or_why() -> None:
    bare = re.compile(r"\b(noqa|(type|pyright):\s*ignore|mypy:\s*ignore-errors)\W*$", re.IGNORECASE)
    offences = [
        f"{relative(path)}:{token.start[0]}: {token.string}"
        for folder in ("src", "tests", "benchmarks", "examples")
        for path in python_files(ROOT / folder)
        for token in comments(path)
        if bare.search(token.string)
    ]
    assert not offences, report("give the code, as in `noqa: S603`, and the reason", offences)


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def place(path: Path, node: ast.AST) -> str:
    return f"{relative(path)}:{getattr(node, 'lineno', 1)}"


def report(advice: str, offences: list[str]) -> str:
    return "\n  ".join([advice, *offences])


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(source(path), filename=str(path))


def imports(path: Path) -> Iterator[tuple[ast.AST, str, bool]]:
    """Yields each import with the top name it takes and whether it happens inside a function."""
    late = {
        id(inner)
        for node in ast.walk(tree(path))
        if isinstance(node, FUNCTION)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name.split(".")[0], id(node) in late
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node, (node.module or "").split(".")[0], id(node) in late


def reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    return (
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    )


def public_nodes(
    path: Path,
) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yields the module, unless it is empty or private, and its public classes and functions."""
    module = tree(path)
    if not module.body or re.match(r"_[^_]", path.stem):
        return
    yield module
    for node in module.body:
        if isinstance(node, (ast.ClassDef, *FUNCTION)) and node.name[0] != "_":
            yield node


def tracked_files() -> list[Path]:
    """What git tracks or would track; without git (an unpacked release) all but what tools made."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not made_by_a_tool(path)]
    return [path for path in found if path.is_file()]


def made_by_a_tool(path: Path) -> bool:
    return any(
        part in GENERATED or part.startswith(".venv") or part.endswith(("_cache", ".egg-info"))
        for part in path.relative_to(ROOT).parts
    )


def text_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []


def comments(path: Path) -> Iterator[tokenize.TokenInfo]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token
