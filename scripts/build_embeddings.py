"""Rebuilds the default search table from a MiniLM folder and WordNet; needs numpy alone.

    python scripts/build_embeddings.py --model DIR --wordnet DIR [--sentences FILE] --out DIR

The model's vectors of many sentences are the goal. A vector for each word piece is fitted so that
the sum of a sentence's pieces points where the model's vector does (Adam, one cycle of the learning
rate). The result is rounded to int8. See src/py_code_mode/search/data/MODEL_CARD.md.
"""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from py_code_mode.search.embedder import Vectors
from py_code_mode.search.folder import FolderEmbedder, Numpy
from py_code_mode.search.wordpiece import WordPieces, numbered

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
#: Pieces of a sentence that count; glosses rarely have more.
MAX_PIECES = 64
BATCH = 512
PEAK_RATE = 2e-3
#: How much the likeness of sentences to each other counts beside that to the goal.
STRUCTURE = 2.0
#: Letters beyond this are not Latin.
FIRST_NOT_LATIN = "\u0250"

Ids = NDArray[np.int64]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, embed, fit and write; says on the way how far it is."""
    options = _options(arguments)
    vocabulary = (options.model / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    pieces = WordPieces(numbered(vocabulary))
    sentences = list(dict.fromkeys([*_glosses(options.wordnet), *_lines(options.sentences)]))
    print(f"{len(sentences)} sentences")
    model = FolderEmbedder(str(options.model), Numpy())
    bags = Bags.of([_known(pieces, sentence) for sentence in sentences])
    goals = _reduced(_embedded(model, [sentences[i] for i in bags.kept]), options.dim)
    start = _reduced(
        _embedded(model, [piece.removeprefix("##") for piece in vocabulary]), options.dim
    )
    table = fit(bags, goals, _by_rank(start), epochs=options.epochs)
    _write(options.out, vocabulary, table)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument(
        "--wordnet", type=Path, required=True, help="folder with data.noun and so on"
    )
    parser.add_argument("--sentences", type=Path, help="further sentences, one a line")
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8)
    return parser.parse_args(arguments)


def _glosses(folder: Path) -> Iterator[str]:
    """Yield, of each synset: its words with the gloss, two examples, its words alone."""
    for part in PARTS_OF_SPEECH:
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  ") or " | " not in line:  # the licence stands before the data
                continue
            head, gloss = line.split(" | ", 1)
            fields = head.split()
            words = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
            words = [re.sub(r"\(.*\)$", "", word) for word in words]
            parts = gloss.strip().split("; ")
            yield f"{', '.join(words)}: {'; '.join(p for p in parts if p[:1] != chr(34))}"
            examples = [p.strip('"') for p in parts if p[:1] == '"']
            yield from [each for each in examples if len(each.split()) > 3][:2]
            if len(words) > 1:
                yield ", ".join(words)


def _lines(path: Path | None) -> list[str]:
    text = path.read_text(encoding="utf-8") if path else ""
    return [line for line in text.splitlines() if 5 <= len(line.split()) <= 30]


def _known(pieces: WordPieces, sentence: str) -> list[int]:
    return [number for number in pieces.ids(sentence)[:MAX_PIECES] if number != pieces.unknown]


def _embedded(model: FolderEmbedder, texts: Sequence[str]) -> Vectors:
    """Return the model's vectors; about 5 ms a sentence on one core."""
    found = np.zeros((len(texts), model.dim), np.float32)
    started = time.monotonic()
    for first in range(0, len(texts), 4096):
        found[first : first + 4096] = model.embed_docs(texts[first : first + 4096])
        print(f"embedded {first} of {len(texts)}, {time.monotonic() - started:.0f} s")
    return found


def _reduced(vectors: Vectors, dim: int) -> Vectors:
    """Return the vectors in their main directions."""
    centred = vectors - vectors.mean(0)
    _, directions = np.linalg.eigh(centred.T @ centred / len(vectors))
    reduced: Vectors = vectors @ directions[:, ::-1][:, :dim].astype(np.float32)
    return reduced


def _by_rank(start: Vectors) -> Vectors:
    """Weaken frequent pieces (SIF, Arora et al., 2017); vocabularies are in order of frequency."""
    share = 1 / np.arange(2, len(start) + 2)
    share /= share.sum()
    weak = (start - start.mean(0)) * (1e-4 / (1e-4 + share))[:, None]
    small: Vectors = (weak / (np.abs(weak).std() * 10)).astype(np.float32)
    return small


@dataclass(frozen=True)
class Bags:
    """The pieces of sentences, one after the other; ``kept`` are the sentences that have any."""

    kept: list[int]
    flat: Ids
    starts: Ids

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]]) -> Bags:
        """Lay the sentences out."""
        kept = [position for position, each in enumerate(ids) if each]
        lengths = [len(ids[position]) for position in kept]
        flat = np.array([number for position in kept for number in ids[position]])
        return cls(kept, flat, np.concatenate([[0], np.cumsum(lengths)]))

    def batch(self, rows: Ids) -> tuple[Ids, Ids]:
        """Return the pieces of some sentences, and where each begins."""
        spans = [self.flat[self.starts[row] : self.starts[row + 1]] for row in rows]
        ends = np.cumsum([len(span) for span in spans])
        return np.concatenate(spans), np.concatenate([[0], ends[:-1]])


def fit(bags: Bags, goals: Vectors, table: Vectors, *, epochs: int) -> Vectors:
    """Return the table whose sums point to the goals."""
    goals = goals / np.maximum(np.linalg.norm(goals, axis=1, keepdims=True), 1e-9)
    adam = Adam(table)
    size = min(BATCH, len(goals))
    steps = epochs * (len(goals) // size)
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(goals))
        loss = 0.0
        for first in range(0, len(order) - size + 1, size):
            rows = order[first : first + size]
            gradient, lost = _gradient(table, *bags.batch(rows), goals[rows])
            adam.step(gradient, rate=_rate(adam.steps, steps))
            loss += lost
        print(f"epoch {epoch}: loss {loss / max(1, len(order) // size):.4f}")
    return table


def _gradient(table: Vectors, flat: Ids, starts: Ids, goals: Vectors) -> tuple[Vectors, float]:
    sums = np.add.reduceat(table[flat], starts, axis=0)
    lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    units = sums / lengths
    apart = units @ units.T - goals @ goals.T
    loss = 1 - (units * goals).sum(1).mean() + STRUCTURE * np.square(apart).mean()
    size = len(goals)
    slope = -goals / size + 4 * STRUCTURE / size**2 * (apart @ units)
    slope = (slope - (slope * units).sum(1, keepdims=True) * units) / lengths
    gradient = np.zeros_like(table)
    counts = np.diff([*starts, len(flat)])
    order = np.argsort(flat, kind="stable")
    pieces, firsts = np.unique(flat[order], return_index=True)
    gradient[pieces] = np.add.reduceat(np.repeat(slope, counts, axis=0)[order], firsts, axis=0)
    return gradient, float(loss)


class Adam:
    """Kingma and Ba, 2015, with their own constants; changes ``table`` in place."""

    def __init__(self, table: Vectors) -> None:
        self.steps = 0
        self._table = table
        self._mean, self._square = np.zeros_like(table), np.zeros_like(table)

    def step(self, gradient: Vectors, *, rate: float) -> None:
        """Go one step down."""
        self.steps += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.001 * (np.square(gradient) - self._square)
        mean = self._mean / (1 - 0.9**self.steps)
        square = self._square / (1 - 0.999**self.steps)
        self._table -= (rate * mean / (np.sqrt(square) + 1e-8)).astype(np.float32)


def _rate(step: int, steps: int) -> float:
    """Return the learning rate: up for three tenths of the way, then down to nothing."""
    done = step / max(1, steps)
    if done < 0.3:
        return PEAK_RATE * (0.04 + 0.96 * (1 - math.cos(math.pi * done / 0.3)) / 2)
    return PEAK_RATE * (1 + math.cos(math.pi * (done - 0.3) / 0.7)) / 2


def _write(folder: Path, vocabulary: Sequence[str], table: Vectors) -> None:
    kept = [number for number, piece in enumerate(vocabulary) if _is_wanted(piece)]
    rows = table[kept]
    scales = np.abs(rows).max(1, keepdims=True) / 127
    scales[scales == 0] = 1
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "table.npy", np.round(rows / scales).astype(np.int8))
    np.save(folder / "scales.npy", scales.astype(np.float16)[:, 0])
    text = "\n".join(vocabulary[number] for number in kept)
    (folder / "vocab.txt").write_text(text, encoding="utf-8")
    print(f"{len(kept)} pieces written")


def _is_wanted(piece: str) -> bool:
    latin = all(char < FIRST_NOT_LATIN for char in piece)
    return latin and not piece.startswith("[unused")


if __name__ == "__main__":
    main()
