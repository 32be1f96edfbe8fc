"""Text that others wrote, made fit to be shown: to a model, in a listing, on a terminal."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from py_code_mode.errors import InvalidArgumentError

#: Longest text in a listing, in characters.
LISTING_CHARS = 200
#: Longest description that is kept, in characters.
MAX_DESCRIPTION_CHARS = 10_000
#: Longest name from a caller that a message repeats or that is compared with known names.
SHOWN_CHARS = 100
#: What a listing looks at; a line of LISTING_CHARS hardly ever needs more.
_READ_CHARS = 4_000
#: Terminal sequences (ECMA-48): CSI, then the strings (OSC, DCS, ...) to their end or the line's,
#: then two-character escapes. Every part is optional, so that a cut sequence goes as well.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_SPACES = re.compile(r"[\t\v\f\x85\u2028\u2029]")
#: Controls but newline, surrogates, and what is invisible: soft hyphen, zero-width space, direction
#: marks, annotations, tags. The joiners U+200C and U+200D stay: scripts and emoji need them.
_INVISIBLE = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\xad\u061c\u180e\u200b\u200e\u200f"
    r"\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """Return ``text`` without escape sequences, control characters (but newline) and surrogates.

    Invisible format characters go too: they reorder what is read, or hide words in it.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    if lines.replace("\n", "").isprintable():
        return lines
    return _INVISIBLE.sub("", _SPACES.sub(" ", _ESCAPES.sub("", lines)))


def one_line(text: str, limit: int = LISTING_CHARS) -> str:
    """Return ``text`` as one plain line of at most ``limit`` characters, cut visibly."""
    line = " ".join(plain(text[:_READ_CHARS]).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def check_description(text: str) -> None:
    """Raise InvalidArgumentError unless ``text`` can be kept as a description."""
    if len(text) > MAX_DESCRIPTION_CHARS:
        raise InvalidArgumentError(
            f"the description has {len(text):,} characters; at most {MAX_DESCRIPTION_CHARS:,}",
            parameter="description",
        )
    if has_surrogates(text):
        raise InvalidArgumentError(
            "the description has half of a surrogate pair, which is no text",
            parameter="description",
        )


def has_surrogates(text: str) -> bool:
    """Tell whether ``text`` holds lone surrogates, which have no form in UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def quoted(name: object) -> str:
    """Return a caller's name as a message may repeat it: escaped and not endless."""
    text = ascii(str(name)[:SHOWN_CHARS])
    return text if len(str(name)) <= SHOWN_CHARS else f"{text}..."


def close_matches(name: object, known: Collection[str]) -> str:
    """Return ``; did you mean 'x'?``, or else what there is, to be appended to a message."""
    matches = difflib.get_close_matches(str(name)[:SHOWN_CHARS], list(known))
    if matches:
        return f"; did you mean {' or '.join(map(repr, matches))}?"
    return f"; there are: {', '.join(known)}" if known else ""


def kind_of(value: object) -> str:
    """Return how a message names a value's type."""
    return "None" if value is None else type(value).__name__
