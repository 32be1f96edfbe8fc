"""What a package spec may be: a name, extras and version specifiers. Nothing else is accepted."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, canonicalize_name

from py_code_mode.errors import InvalidDepError
from py_code_mode.text import quoted

MAX_SPEC_CHARS: Final = 200
#: What the guest itself is made of. Agent code may import the libraries among them as they are.
GUEST_LIBRARIES: Final = frozenset({"cloudpickle", "msgpack"})
GUEST_MODULES: Final = GUEST_LIBRARIES | {"py_code_mode", "py_code_mode_guest"}
#: Top-level modules that nothing installed may be named like.
RESERVED_MODULES: Final = sys.stdlib_module_names | GUEST_MODULES

_EXAMPLE: Final = "give a name with extras and versions, like 'requests[socks]>=2.31,<3'"
#: What is wrong with a spec, by the first of these that it contains.
_FAULTS: Final = (
    (re.compile(r"[^ -~]"), "has a line break, a control character or a character beyond ASCII"),
    (re.compile(r"^ | $"), "begins or ends with a space"),
    (re.compile(r"^-"), "is an option of the installer"),
    (re.compile(r"[$%]"), "refers to an environment variable"),
    (re.compile(r"@|://"), "is a URL or a reference to version control"),
    (re.compile(r";"), "has an environment marker"),
    (re.compile(r"#"), "has a comment"),
    (re.compile(r"[/\\]|^[.~]|\.(?:whl|zip|tar|gz|bz2|toml|txt)$", re.IGNORECASE), "is a path"),
    (re.compile(r"==="), "compares with '===', which no version can be checked against"),
)


@dataclass(frozen=True, slots=True)
class PackageSpec:
    """A spec in normal form: ``name`` as PEP 503 writes it, ``text`` equal for equal specs."""

    name: str
    text: str


def parse_spec(text: str, *, preloaded: Collection[str] = ()) -> PackageSpec:
    """Return the spec of ``text``, in which nothing but a PEP 508 name and versions may stand.

    ``preloaded`` names modules that the operator loads for all sessions, which nobody replaces.

    Raises:
        InvalidDepError: naming what is wrong with it.

    Example:
        >>> parse_spec("Ruamel.YAML [b, a] < 1, >= 0.18").text
        'ruamel-yaml[a,b]<1,>=0.18'
    """
    if not text.strip():
        raise InvalidDepError(f"the package spec is empty; {_EXAMPLE}")
    if len(text) > MAX_SPEC_CHARS:
        raise _refused(text, f"has {len(text):,} characters, and {MAX_SPEC_CHARS} are allowed")
    for pattern, fault in _FAULTS:
        if pattern.search(text):
            raise _refused(text, f"{fault}, which is not accepted; {_EXAMPLE}")
    try:
        parsed = Requirement(text)
        # Stricter than the parser, which lets a name end in a hyphen.
        name = canonicalize_name(parsed.name, validate=True)
        extras = {canonicalize_name(extra, validate=True) for extra in parsed.extras}
    except (InvalidRequirement, InvalidName):
        raise _refused(text, f"is not a package spec; {_EXAMPLE}") from None
    _refuse_reserved(text, name, preloaded)
    asked = f"[{','.join(sorted(extras))}]" if extras else ""
    return PackageSpec(name, f"{name}{asked}{parsed.specifier}")


def name_of(text: str) -> str | None:
    """Return the canonical name that a stored spec begins with; None where it has none."""
    found = re.match(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?=[\s\[(<>=!~;@]|$)", text)
    return canonicalize_name(found[0]) if found else None


def _refuse_reserved(text: str, name: str, preloaded: Collection[str]) -> None:
    if _is_one_of(name, GUEST_MODULES):
        raise _refused(text, "is part of the sandbox and cannot be replaced; import it as it is")
    if _is_one_of(name, sys.stdlib_module_names):
        raise _refused(text, f"is named like the module {name!r} of Python's standard library")
    if _is_one_of(name, preloaded):
        raise _refused(text, "is loaded by the operator for all sessions; import it as it is")


def _is_one_of(name: str, modules: Iterable[str]) -> bool:
    return name in {canonicalize_name(module.partition(".")[0]) for module in modules}


def _refused(text: str, problem: str) -> InvalidDepError:
    return InvalidDepError(f"the package spec {quoted(text)} {problem}")
