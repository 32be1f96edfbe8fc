"""A large vocabulary, of which at first only those pieces become Python's that may be asked for."""

from __future__ import annotations

import numpy as np

_NEWLINE = 10
_MARK = "##"
#: The bit that keeps pieces with the mark apart; no letter of ASCII has it.
_MARKED = 7
#: With so many drawers open, a dict of all pieces costs no more than the next ones.
_MANY = 100


class Vocabulary:
    """The numbers of pieces, which are the lines of a text.

    Pieces are filed by two bytes: their first ones, or those after the mark ``##`` of what goes on
    with a word. A drawer becomes a dict when a piece of it is first looked up. A query opens a few
    of over a thousand, which takes a fifth of the time of a dict of all; who opens many gets that.
    """

    def __init__(self, lines: bytes) -> None:
        self._lines = lines
        # What is no byte of a piece counts as a line's end, so that all of them have two bytes.
        text = np.frombuffer(lines + b"\n\n\n\n", np.uint8)
        self._ends = np.flatnonzero(text[: len(lines) + 1] == _NEWLINE)
        self._starts = np.concatenate([[0], self._ends[:-1] + 1])
        marked = (text[self._starts] == ord("#")) & (text[self._starts + 1] == ord("#"))
        first = self._starts + len(_MARK) * marked
        high = text[first].astype(np.uint16)
        low = np.where(high == _NEWLINE, _NEWLINE, text[first + 1]).astype(np.uint16)
        drawers = (high << 8 | low) ^ (marked.astype(np.uint16) << _MARKED)
        # Stable for numbers of 16 bits is a radix sort.
        self._order = np.argsort(drawers, kind="stable")
        self._drawers = drawers[self._order]
        self._open: dict[int, dict[str, int]] = {}
        self._all: dict[str, int] | None = None

    def get(self, piece: str) -> int | None:
        """Return a piece's number; None where there is no such piece."""
        if self._all is not None:
            return self._all.get(piece)
        marked = piece.startswith(_MARK)
        start = piece[2:4] if marked else piece[:2]
        high, low, *_ = f"{start}\n\n".encode("utf-8", "surrogatepass")
        drawer = (high << 8 | low) ^ (marked << _MARKED)
        opened = self._open.get(drawer)
        if opened is None:
            opened = self._opened(drawer)
        return opened.get(piece)

    def _opened(self, drawer: int) -> dict[str, int]:
        if len(self._open) >= _MANY:
            pieces = self._lines.decode().split("\n")
            self._all = {piece: row for row, piece in enumerate(pieces)}
            return self._all
        begin, end = (self._drawers.searchsorted(np.uint16(drawer), s) for s in ("left", "right"))
        rows = self._order[begin:end]
        places = zip(
            rows.tolist(), self._starts[rows].tolist(), self._ends[rows].tolist(), strict=True
        )
        opened = {self._lines[start:stop].decode(): row for row, start, stop in places}
        if opened:  # queries ask for what is nowhere, without end
            self._open[drawer] = opened
        return opened
