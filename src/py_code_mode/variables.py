"""What the text of an environment variable, or of an option that stands for one, means."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Literal

#: Where the command line keeps things unless it is told otherwise.
DEFAULT_BASE: Final = "./.code-mode"

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})
_MIN_TOKEN: Final = 16
_MOST_SECONDS: Final = 1_000_000_000  # some 30 years; Redis counts milliseconds, and not for ever


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """Return a reader of whole numbers in a range. It raises ValueError, as all readers do."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not low <= value <= high:
            raise ValueError(
                f"must be at least {low}" + (f" and at most {high}" if high < math.inf else "")
            )
        return value

    return read


def seconds(text: str) -> float:
    """Return a time over 0. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MOST_SECONDS:
        raise ValueError(f"must be a number of seconds over 0 and at most {_MOST_SECONDS:,}")
    return value


def flag(text: str) -> bool:
    """Return what is true or false. Raises ValueError."""
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError("must be true or false")


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of these words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def fallback(text: str) -> Literal["lexical"] | None:
    """Return what searches may fall back to. Raises ValueError."""
    if text not in ("", "lexical"):
        raise ValueError("must be lexical, or empty for none")
    return "lexical" if text else None


def address(text: str) -> str:
    """Return an address to listen on. Raises ValueError."""
    if not text:
        raise ValueError("must name an address")
    return text


def modules(text: str) -> tuple[str, ...]:
    """Return names of modules. Raises ValueError."""
    names = words(text)
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError("must be names of modules with commas between them")
    return names


def words(text: str) -> tuple[str, ...]:
    """Return what stands between commas, without what is empty."""
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def url_of_redis(text: str) -> str:
    """Return the URL of a Redis, or nothing. Raises ValueError."""
    if text and not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return text


def access_tokens(text: str) -> tuple[str, ...]:
    """Return the tokens of clients. Raises ValueError, which never shows one."""
    tokens = words(text)
    if not tokens:
        raise ValueError("must have a token; make one with: openssl rand -hex 32")
    if any(len(token) < _MIN_TOKEN for token in tokens):
        raise ValueError(f"has a token of less than {_MIN_TOKEN} characters")
    if not all(token.isascii() and token.isprintable() and " " not in token for token in tokens):
        raise ValueError("must be printable ASCII without spaces")
    return tokens


def starting(prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose names begin so."""
    return {name: value for name, value in environ.items() if name.startswith(prefix)}
