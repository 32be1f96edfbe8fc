"""A model in a folder gives the vectors that its definition says; what is wrong is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from py_code_mode.errors import SearchUnavailableError
from py_code_mode.search.folder import FolderEmbedder, Numpy
from py_code_mode.search.onnx import Onnx

from .tiny_bert import CONFIG, VOCABULARY, WIDTH, reference, tensors, write_model

TEXTS = ["Hello world!", "read file", "", "a, b - c?", "zebra 123 " * 30]


def tiny(folder: Path, **options: Any) -> FolderEmbedder:
    return FolderEmbedder(str(write_model(folder, **options)), Numpy())


def ids(*words: str) -> list[int]:
    return [VOCABULARY.index(word) for word in ("[CLS]", *words, "[SEP]")]


def test_vectors_are_those_of_the_plain_computation(tmp_path: Path) -> None:
    found = tiny(tmp_path / "m").embed_docs(["Hello world!", "readx", "\u4e2d"])
    expected = [
        reference(ids(*words), tensors())
        for words in (["hello", "world", "!"], ["read", "##x"], ["[UNK]"])
    ]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_text_has_the_same_vector_alone_and_among_others(tmp_path: Path) -> None:
    model = tiny(tmp_path / "m")
    together = model.embed_docs(TEXTS * 20)
    alone = np.array([model.embed_query(text) for text in TEXTS * 20])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
    assert model.embed_docs([]).shape == (0, WIDTH)
    assert model.dim == WIDTH


def test_a_long_text_is_cut_to_what_the_model_reads(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 4}')
    model = FolderEmbedder(str(folder), Numpy())
    np.testing.assert_array_equal(
        model.embed_query("hello world read file " * 2000), model.embed_query("hello world")
    )


def test_half_precision_and_a_prefix_are_read(tmp_path: Path) -> None:
    whole = tiny(tmp_path / "a").embed_query("hello")
    half = tiny(tmp_path / "b", dtype="F16", prefix="bert.").embed_query("hello")
    np.testing.assert_allclose(whole, half, atol=5e-3)


def test_the_first_state_is_taken_where_the_folder_says_so(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    mean = FolderEmbedder(str(folder), Numpy()).embed_query("hello world")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    first = FolderEmbedder(str(folder), Numpy()).embed_query("hello world")
    assert np.abs(mean - first).max() > 1e-4


def test_a_vocabulary_is_also_read_from_tokenizer_json(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    expected = FolderEmbedder(str(folder), Numpy()).embed_query("hello")
    (folder / "vocab.txt").unlink()
    vocabulary = {piece: number for number, piece in reversed([*enumerate(VOCABULARY)])}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    found = FolderEmbedder(str(folder), Numpy()).embed_query("hello")
    np.testing.assert_array_equal(found, expected)


def test_the_id_changes_with_the_model_and_not_with_its_place(tmp_path: Path) -> None:
    first, moved = tiny(tmp_path / "a" / "m"), tiny(tmp_path / "b" / "m")
    other = tiny(tmp_path / "c" / "m", seed=2)
    assert first.id == moved.id != other.id
    assert first.id.startswith("dir-m-")


BROKEN: dict[str, dict[str, Any]] = {
    "another architecture": {"config.json": json.dumps({**CONFIG, "model_type": "mpnet"})},
    "another activation": {"config.json": json.dumps({**CONFIG, "hidden_act": "relu"})},
    "no object": {"config.json": "[]"},
    "no JSON": {"config.json": "{"},
    "no width": {"config.json": '{"model_type": "bert"}'},
    "more layers than weights": {"config.json": json.dumps({**CONFIG, "num_hidden_layers": 3})},
    "no weights": {"model.safetensors": None},
    "empty weights": {"model.safetensors": ""},
    "other weights": {"model.safetensors": "hello hello hello"},
    "no vocabulary": {"vocab.txt": None},
    "a vocabulary without marks": {"vocab.txt": "a\nb\n"},
    "a vocabulary of another model": {"vocab.txt": "\n".join([*"0123456789" * 30, *VOCABULARY])},
}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, files: dict[str, Any]) -> None:
    folder = write_model(tmp_path / "m")
    for name, text in files.items():
        (folder / name).unlink()
        if text is not None:
            (folder / name).write_text(text)
    model = FolderEmbedder(str(folder), Numpy())
    for _ in range(2):
        with pytest.raises(SearchUnavailableError, match=r"cannot be used: .*; give the folder"):
            model.embed_query("hello")


def test_a_folder_that_was_mended_works(tmp_path: Path) -> None:
    model = FolderEmbedder(str(tmp_path / "m"), Numpy())
    with pytest.raises(SearchUnavailableError):
        _ = model.id
    write_model(tmp_path / "m")
    assert model.dim == WIDTH


def test_without_onnxruntime_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (write_model(tmp_path / "m") / "model.onnx").write_bytes(b"onnx")
    with pytest.raises(SearchUnavailableError, match=r"pip install 'py-code-mode\[onnx\]'"):
        FolderEmbedder(str(tmp_path / "m"), Onnx()).embed_query("hello")


def test_onnxruntime_is_given_what_the_model_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"onnx")
    fake: Any = ModuleType("onnxruntime")
    fake.InferenceSession = FakeSession
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    model = FolderEmbedder(str(folder), Onnx())
    expected = FolderEmbedder(str(folder), Numpy()).embed_docs(TEXTS)
    np.testing.assert_allclose(model.embed_docs(TEXTS), expected, atol=1e-6)
    assert model.id.startswith("onnx-m-")


class FakeSession:
    """Stands in for onnxruntime: the same model, asked in its way."""

    def __init__(self, path: str, providers: list[str]) -> None:
        assert providers == ["CPUExecutionProvider"]
        self._states = Numpy().load(Path(path).parent.parent)

    def get_inputs(self) -> list[Any]:
        return [type("Input", (), {"name": name}) for name in ("input_ids", "attention_mask")]

    def run(self, wanted: None, given: dict[str, Any]) -> list[Any]:
        assert wanted is None
        assert sorted(given) == ["attention_mask", "input_ids"]
        assert given["attention_mask"].all()
        return [self._states(given["input_ids"])]
