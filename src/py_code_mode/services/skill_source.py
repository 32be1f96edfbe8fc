"""Reads what a skill's source says of itself, by parsing it; nothing of it is ever run here."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from py_code_mode.errors import InvalidSkillError
from py_code_mode.services.docstrings import argument_docs, docstring, first_paragraph
from py_code_mode.text import MAX_DESCRIPTION_CHARS, has_surrogates, one_line, plain

MAX_SOURCE_BYTES = 256 * 1024
MAX_PARAMETERS = 100
#: The parser holds the whole process while it works, and its time grows with tokens rather than
#: bytes: at this number it needs about a quarter of a second, ordinary source a tenth of that.
_MAX_TOKENS = 65_536
#: Before 3.12 it scans a whole f-string again for each replacement field.
_MAX_BRACES = 2_048
#: What an annotation or default may have before it is no longer worth showing (and unparsing).
_MAX_SHOWN_NODES = 200
_TOKENS = re.compile(r"\w+|[^\w\s]")

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class SkillSource:
    """What a source says. ``problem`` is why it cannot be a skill (then the rest is empty)."""

    description: str = ""
    parameters: tuple[dict[str, Any], ...] = ()
    problem: str | None = None
    line: int | None = None


def read_skill(source: str) -> SkillSource:
    """Return what ``source`` says of itself, or what is wrong with it; never raises."""
    try:
        tree = _parse(source)
        run = _find_run(tree)
        return SkillSource(_description(tree, run), tuple(_parameters(run)))
    except InvalidSkillError as error:
        return SkillSource(problem=error.message, line=error.fields.get("line"))


def _parse(source: str) -> ast.Module:
    _check_text(source)
    try:
        with warnings.catch_warnings():
            # Old escapes in somebody's source are neither our warning nor, under -W error, a fault.
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        raise _syntax_error(error, source) from None
    except (RecursionError, MemoryError):
        # CPython's own guards: its parser's stack and the depth of the tree it builds.
        raise InvalidSkillError(
            "the source is nested too deeply; split the expression or the chain of elif"
        ) from None
    except ValueError as error:
        raise InvalidSkillError(f"the source cannot be parsed: {one_line(str(error))}") from None


def _check_text(source: str) -> None:
    size = len(source) if len(source) > MAX_SOURCE_BYTES else len(source.encode(errors="replace"))
    if size > MAX_SOURCE_BYTES:
        raise InvalidSkillError(
            f"the source has {size:,} bytes; at most {MAX_SOURCE_BYTES:,} are allowed. "
            "Keep data in an artifact and load it"
        )
    if has_surrogates(source):
        raise InvalidSkillError("the source has half of a surrogate pair, which is no text")
    if "\0" in source:
        line = source.count("\n", 0, source.index("\0")) + 1
        raise InvalidSkillError(f"line {line}: the source has a null byte", line=line)
    too_many = next(islice(_TOKENS.finditer(source), _MAX_TOKENS, None), None) is not None
    if too_many or source.count("{") > _MAX_BRACES:
        raise InvalidSkillError(
            f"the source has more than {_MAX_TOKENS:,} words and signs, or {_MAX_BRACES:,} opening "
            "braces. Keep data in an artifact and load it"
        )


def _syntax_error(error: SyntaxError, source: str) -> InvalidSkillError:
    reason = one_line(error.msg)
    if error.lineno is None:
        return InvalidSkillError(f"the source cannot be parsed: {reason}")
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = one_line(lines[error.lineno - 1]) if error.lineno <= len(lines) else ""
    where = f"line {error.lineno}: {reason}"
    return InvalidSkillError(f"{where}: {text}" if text else where, line=error.lineno)


def _find_run(tree: ast.Module) -> Definition:
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "run"
    ]
    if not found:
        raise InvalidSkillError(
            "a skill must define a function run(...) at top level, for example: "
            "def run(url: str) -> str: ..."
        )
    run = found[-1]
    if run.args.posonlyargs:
        names = ", ".join(one_line(arg.arg, 60) for arg in run.args.posonlyargs[:5])
        raise InvalidSkillError(
            f"line {run.lineno}: run() is called with keywords, so it cannot have positional-only "
            f"parameters ({names}); remove the '/'",
            line=run.lineno,
        )
    if len(run.args.args) + len(run.args.kwonlyargs) > MAX_PARAMETERS:
        raise InvalidSkillError(
            f"line {run.lineno}: run() has more than {MAX_PARAMETERS} parameters; take a dict",
            line=run.lineno,
        )
    return run


def _description(tree: ast.Module, run: Definition) -> str:
    text = docstring(tree) or first_paragraph(docstring(run))
    return plain(text[:MAX_DESCRIPTION_CHARS])


def _parameters(run: Definition) -> Iterator[dict[str, Any]]:
    """Yield what a caller can give. ``*args`` is left out: skills are called with keywords."""
    docs = argument_docs(docstring(run))
    spec = run.args
    missing: list[ast.expr | None] = [None] * (len(spec.args) - len(spec.defaults))
    for arg, default in [
        *zip(spec.args, [*missing, *spec.defaults], strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ]:
        parameter = _parameter(arg, arg.arg, docs)
        parameter["required"] = default is None
        if default is not None:
            parameter["default"] = _shown(default, "...")
        yield parameter
    if spec.kwarg is not None:
        yield {**_parameter(spec.kwarg, f"**{spec.kwarg.arg}", docs), "required": False}


def _parameter(arg: ast.arg, name: str, docs: dict[str, str]) -> dict[str, Any]:
    kind = "any" if arg.annotation is None else _shown(arg.annotation, "any")
    parameter: dict[str, Any] = {"name": one_line(name), "type": kind, "required": False}
    if docs.get(arg.arg):
        parameter["description"] = one_line(docs[arg.arg])
    return parameter


def _shown(node: ast.expr, otherwise: str) -> str:
    """Return the source text of an annotation or default, or ``otherwise`` where it is endless."""
    if sum(1 for _ in islice(ast.walk(node), _MAX_SHOWN_NODES + 1)) > _MAX_SHOWN_NODES:
        return otherwise
    try:
        return one_line(ast.unparse(node))
    except (RecursionError, ValueError):  # ValueError: an integer too long to print
        return otherwise
