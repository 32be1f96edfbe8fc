"""Splits text into the word pieces of BERT's uncased vocabularies, as BertTokenizer does."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Protocol

#: Longer words are unknown, as in BERT; it also keeps one endless word from taking all the time.
_MAX_WORD_CHARS = 100
#: Words whose pieces are remembered.
_MAX_REMEMBERED = 50_000
_ASCII_WORDS = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
_ASCII_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))
#: The blocks of Chinese characters, each of which is a word of its own. No pattern: to compile it
#: would take as long as to read the default table.
_CHINESE = (
    ("\u3400", "\u4dbf"),
    ("\u4e00", "\u9fff"),
    ("\uf900", "\ufaff"),
    ("\U00020000", "\U0002a6df"),
    ("\U0002a700", "\U0002ceaf"),
    ("\U0002f800", "\U0002fa1f"),
)
_FIRST_CHINESE = _CHINESE[0][0]


class Index(Protocol):
    """The numbers of pieces; a dict is one."""

    def get(self, piece: str, /) -> int | None:
        """Return a piece's number; None where there is no such piece."""


def numbered(vocabulary: Sequence[str]) -> dict[str, int]:
    """Return the numbers of pieces, which are their places."""
    return dict(zip(vocabulary, range(len(vocabulary)), strict=True))


class WordPieces:
    """Splits by a vocabulary; ``##`` begins the pieces that continue a word."""

    def __init__(self, index: Index, *, lower: bool = True) -> None:
        self._index = index
        unknown = index.get("[UNK]")
        self.unknown = -1 if unknown is None else unknown
        self._lower = lower
        self._remembered: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Return the numbers of a text's pieces; a word that has none is ``unknown``."""
        found: list[int] = []
        for word in _words(text, lower=self._lower):
            pieces = self._remembered.get(word)
            if pieces is None:
                pieces = self._pieces(word)
                if len(self._remembered) >= _MAX_REMEMBERED:
                    self._remembered.clear()
                self._remembered[word] = pieces
            found += pieces
        return found

    def _pieces(self, word: str) -> list[int]:
        """Take the longest piece that fits, again and again."""
        if len(word) > _MAX_WORD_CHARS:
            return [self.unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            for end in range(len(word), start, -1):
                number = self._index.get(mark + word[start:end])
                if number is not None:
                    found.append(number)
                    start = end
                    break
            else:
                return [self.unknown]
        return found


def _words(text: str, *, lower: bool) -> Iterator[str]:
    if lower and text.isascii():
        yield from _ASCII_WORDS.findall(text.translate(_ASCII_CONTROLS).lower())
        return
    if lower:
        # Accents go, as unicode's own decomposition separates them from their letters.
        apart = unicodedata.normalize("NFD", text)
        text = "".join(char for char in apart if unicodedata.category(char) != "Mn").lower()
    kept = "".join(_spaced(char) for char in text)
    yield from kept.split()


def _spaced(char: str) -> str:
    """Return what is left of a character: with spaces around it where it is a word by itself."""
    category = unicodedata.category(char)
    if category == "Zs" or char in "\t\n\r":
        return " "
    if category in {"Cc", "Cf", "Cn", "Co", "Cs"} or char == "\ufffd":
        return ""
    if category[0] == "P" or (char.isascii() and not char.isalnum()) or _is_chinese(char):
        return f" {char} "
    return char


def _is_chinese(char: str) -> bool:
    return char >= _FIRST_CHINESE and any(first <= char <= last for first, last in _CHINESE)
