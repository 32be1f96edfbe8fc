"""The setting EMBEDDINGS: every form it has, and what is said of the wrong ones."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from py_code_mode.errors import ConfigurationError
from py_code_mode.search.choose import GROUP, Lexical, choose_embedder
from py_code_mode.search.endpoint import EndpointEmbedder
from py_code_mode.search.folder import FolderEmbedder
from py_code_mode.search.static import StaticEmbedder

from .tiny_bert import write_model

KEY = "key-of-the-test-0123456789"


@pytest.mark.parametrize("setting", ["", "static", " static "])
def test_the_table_is_the_default(setting: str) -> None:
    assert isinstance(choose_embedder(setting), StaticEmbedder)


def test_words_alone_have_no_vectors() -> None:
    lexical = choose_embedder("lexical")
    assert isinstance(lexical, Lexical)
    assert (lexical.id, lexical.dim) == ("lexical", 0)
    assert lexical.embed_docs(["a", "b"]).shape == (2, 0)
    assert lexical.embed_query("a").shape == (0,)


def test_a_folder_is_chosen_by_its_path(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    for scheme in ("dir", "onnx"):
        assert isinstance(choose_embedder(f"{scheme}:{tmp_path}/model"), FolderEmbedder)
    assert choose_embedder(f"dir:{tmp_path}/model").id.startswith("dir-model-")


@pytest.mark.parametrize(
    ("setting", "id_"),
    [
        ("openai:small@https://host/v1", "openai-small@host/v1"),
        ("openai:team/m@2@https://host:8080", "openai-team/m@2@host:8080"),
        ("openai:small@http://localhost:11434/v1", "openai-small@localhost:11434/v1"),
    ],
)
def test_an_endpoint_is_a_model_at_an_address(setting: str, id_: str) -> None:
    found = choose_embedder(setting, {"OPENAI_API_KEY": KEY})
    assert isinstance(found, EndpointEmbedder)
    assert found.id == id_
    assert KEY not in repr(found)


def test_the_key_of_its_own_comes_first() -> None:
    variables = {"OPENAI_API_KEY": "other", "EMBEDDINGS_API_KEY": KEY}
    found = choose_embedder("openai:small@https://host/v1", variables)
    assert isinstance(found, EndpointEmbedder)
    assert found._key == KEY


WRONG = [
    "statik",
    "static:x",
    "lexical:x",
    "dir:",
    "dir:/no/such/folder",
    "onnx:/no/such/folder",
    "openai:small",
    "openai:https://host/v1",
    "openai:small@ftp://host/v1",
    "openai:small@https://",
    "openai:small@https://host:port/v1",
    "openai:small@https://user:secret-of-mine@host/v1",
    "openai:small@https://host/v1?key=secret-of-mine",
    "openai:small@http://host/v1",
    "../x",
]


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_is_refused_with_the_right_forms(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="EMBEDDINGS=") as caught:
        choose_embedder(setting, {"EMBEDDINGS_API_KEY": KEY})
    assert "secret-of-mine" not in caught.value.message
    assert KEY not in caught.value.message


class Offered(Lexical):
    """What a package might offer."""

    def __init__(self, argument: str = "none") -> None:
        if argument == "bad":
            raise OSError("no such model")
        self.argument = argument


def nothing() -> object:
    return object()


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        metadata.EntryPoint("mine", f"{__name__}:Offered", GROUP),
        metadata.EntryPoint("empty", f"{__name__}:nothing", GROUP),
        metadata.EntryPoint("gone", "no_such_module:x", GROUP),
    ]

    def entry_points(*, group: str, name: str) -> list[Any]:
        assert group == GROUP
        return [point for point in points if point.name == name]

    monkeypatch.setattr(metadata, "entry_points", entry_points)


@pytest.mark.usefixtures("offers")
def test_packages_offer_embedders_by_entry_points() -> None:
    for setting, argument in (("mine", "none"), ("mine:a:b", "a:b")):
        found = choose_embedder(setting)
        assert type(found).__name__ == "Offered"
        assert getattr(found, "argument", None) == argument


@pytest.mark.usefixtures("offers")
@pytest.mark.parametrize(
    ("setting", "told"),
    [("mine:bad", "no such model"), ("gone", "no_such_module"), ("empty", "has no id, embed_docs")],
)
def test_an_offer_that_does_not_work_is_told(setting: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        choose_embedder(setting)
