"""The default table: what it is, what it costs, and that it knows what words mean."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

from py_code_mode.search.static import DATA, StaticEmbedder

TABLE = StaticEmbedder()
FILES = ("table.npy", "scales.npy", "vocab.txt")

#: Measured 40 ms, of which numpy takes 35, and 17 MB; the bound in time is the benchmarks' to
#: check, on a quiet machine.
COST = """
import time
import py_code_mode
from py_code_mode.services.registry import Services
import sys
assert "numpy" not in sys.modules, "importing py_code_mode loads numpy"
assert "httpx2" not in sys.modules and "onnxruntime" not in sys.modules

def memory_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

before, start = memory_mb(), time.process_time()
from py_code_mode.search.choose import choose_embedder
embedder = choose_embedder("static")
embedder.embed_query("convert a picture")
print(memory_mb() - before, time.process_time() - start)
"""


def test_the_id_tells_the_files_apart() -> None:
    digest = hashlib.blake2b(digest_size=4)
    for name in FILES:
        digest.update((DATA / name).read_bytes())
    assert StaticEmbedder.id.endswith(digest.hexdigest())


def test_the_model_card_describes_these_files_and_carries_the_licences() -> None:
    card = (DATA / "MODEL_CARD.md").read_text()
    listed = dict(re.findall(r"^\| `([\w.]+)` \|.*`(\w{64})` \|$", card, re.MULTILINE))
    assert listed == {
        name: hashlib.sha256((DATA / name).read_bytes()).hexdigest() for name in FILES
    }
    assert "Apache License" in (DATA / "LICENSE-APACHE-2.0.txt").read_text()
    assert "2006 by Princeton University" in (DATA / "LICENSE-WORDNET.txt").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_it_is_loaded_by_the_first_search_and_weighs_little() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COST], capture_output=True, text=True, check=True, timeout=60
    )
    memory_mb, seconds = map(float, done.stdout.split())
    assert memory_mb <= 30
    assert seconds < 0.5


def test_vectors_have_length_one_and_a_text_has_one_vector() -> None:
    texts = ["read a file", "", "日本語 Русский", "hello world " * 500, "read a file"] * 200
    found = TABLE.embed_docs(texts)
    assert found.dtype == np.float32
    assert found.shape == (1000, TABLE.dim)
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths[:5], [1, 0, 0, 1, 1], atol=1e-6)
    alone = np.array([TABLE.embed_query(text) for text in texts[:5]])
    np.testing.assert_allclose(found[:5], alone, atol=1e-6)
    assert TABLE.embed_docs([]).shape == (0, TABLE.dim)


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("make a photo smaller", "resize an image", "send an email"),
        ("tongue twister in Spanish", "translate text to another language", "compress a folder"),
        ("is it going to rain", "weather forecast", "hash a password"),
    ],
)
def test_like_meaning_is_near(query: str, near: str, far: str) -> None:
    vectors = TABLE.embed_docs([query, near, far])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
