"""One search for every namespace: fresh, incremental, and honest when its embedder fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import pytest

from py_code_mode.errors import InternalError, SearchUnavailableError
from py_code_mode.models import Limits
from py_code_mode.search.choose import Lexical
from py_code_mode.search.lexical import Document
from py_code_mode.services import embedding
from py_code_mode.services import search as search_module
from py_code_mode.services.registry import Services
from py_code_mode.services.search import Search
from py_code_mode.store.memory import MemoryStorage, MemoryVectors
from py_code_mode.store.vector_space import VectorSpace

from .embedders import CountingEmbedder

SPACE = VectorSpace("counting", "things")


class Things:
    """Texts by name, as a source."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self.asked = self.described = 0

    async def revision(self) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        return str(sorted(self.texts.items()))

    async def items(self) -> Mapping[str, str]:
        return self.texts

    async def documents(self, item: str) -> Sequence[Document]:
        self.described += 1
        return [Document(item.partition(" ")[0], item.partition(" ")[2])]


@pytest.fixture
def things() -> Things:
    return Things({name: f"{name} about {name} things" for name in ("apple", "banana", "cherry")})


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def vectors() -> MemoryVectors:
    return MemoryVectors()


@pytest.fixture
def search(vectors: MemoryVectors, embedder: CountingEmbedder) -> Search[str]:
    return Search("things", vectors, embedder=embedder)


async def names(search: Search[str], source: Things, query: str, limit: int = 10) -> list[str]:
    return [hit.item.split()[0] for hit in await search.find(source, query, limit)]


async def test_what_fits_best_comes_first(search: Search[str], things: Things) -> None:
    assert (await names(search, things, "banana"))[0] == "banana"
    assert len(await names(search, things, "things", 2)) == 2


@pytest.mark.parametrize("query", ["", "  ", "?!", "\x00", "🙂"])
async def test_a_query_without_words_finds_nothing_and_asks_nobody(
    search: Search[str], things: Things, embedder: CountingEmbedder, query: str
) -> None:
    assert await names(search, things, query) == []
    assert embedder.queries == []


async def test_an_empty_catalogue_has_nothing(search: Search[str]) -> None:
    assert await names(search, Things({}), "banana") == []


@pytest.mark.parametrize(
    "query", ["банан", "香蕉を探す", "x" * 10_000, "banana " * 1500, "\ud800 banana", "בננה", "ก้า"]
)
async def test_any_query_is_answered(search: Search[str], things: Things, query: str) -> None:
    for chosen in (search, Search[str]("things", MemoryVectors())):
        found = await names(chosen, things, query)
        assert set(found) <= set(things.texts)
        assert ("banana" in query) <= (found[:1] == ["banana"])


async def test_only_what_is_new_or_changed_is_described_and_embedded(
    search: Search[str], things: Things, embedder: CountingEmbedder
) -> None:
    await names(search, things, "apple")
    assert (len(embedder.docs), things.described) == (3, 3)
    things.texts["date"] = "date about dates"
    things.texts["apple"] = "apple changed"
    assert (await names(search, things, "changed"))[0] == "apple"
    assert (len(embedder.docs), things.described) == (5, 5)
    del things.texts["apple"]
    assert "apple" not in await names(search, things, "changed apple")
    assert (len(embedder.docs), things.described) == (5, 5)


async def test_the_next_process_finds_the_vectors_in_the_store(
    search: Search[str], vectors: MemoryVectors, things: Things
) -> None:
    found = await search.find(things, "banana", 3)
    other = CountingEmbedder()
    assert await Search[str]("things", vectors, embedder=other).find(things, "banana", 3) == found
    assert other.docs == []


async def test_another_embedder_makes_its_own_vectors_and_leaves_the_others(
    search: Search[str], vectors: MemoryVectors, things: Things
) -> None:
    await search.find(things, "banana", 3)
    other = CountingEmbedder("other", dim=32)
    switched = Search[str]("things", vectors, embedder=other)
    assert (await names(switched, things, "cherry"))[0] == "cherry"
    assert len(other.docs) == 3
    assert {len(each) for each in (await vectors.load(SPACE)).values()} == {128}
    assert {len(v) for v in (await vectors.load(VectorSpace("other", "things"))).values()} == {64}


async def test_stored_vectors_of_another_length_are_made_again(
    search: Search[str], vectors: MemoryVectors, things: Things, embedder: CountingEmbedder
) -> None:
    odd = Search[str]("things", vectors, embedder=CountingEmbedder(dim=16))
    await odd.find(things, "banana", 3)
    assert (await names(search, things, "banana"))[0] == "banana"
    assert len(embedder.docs) == 3


async def test_vectors_of_things_that_are_gone_are_swept(
    search: Search[str], vectors: MemoryVectors, things: Things
) -> None:
    for number in range(200):
        things.texts["passing"] = f"passing number {number}"
        await search.find(things, "banana", 1)
    assert len(await vectors.load(SPACE)) <= 4 + embedding._MAX_GONE
    things.texts = dict.fromkeys(["apple"], "apple alone")
    later = Search[str]("things", vectors, embedder=CountingEmbedder())
    assert await names(later, things, "apple") == ["apple"]


async def test_searches_at_the_same_time_look_once(
    search: Search[str], things: Things, embedder: CountingEmbedder
) -> None:
    found = await asyncio.gather(*(names(search, things, "banana") for _ in range(50)))
    assert {each[0] for each in found} == {"banana"}
    assert len(embedder.docs) == 3
    assert things.asked <= 3


async def test_searchers_of_two_instances_embed_once(vectors: MemoryVectors) -> None:
    many = Things({f"n{i}": f"n{i} text {i}" for i in range(600)})
    embedders = [CountingEmbedder(), CountingEmbedder()]
    await asyncio.gather(
        *(Search[str]("things", vectors, embedder=each).find(many, "n1", 1) for each in embedders)
    )
    assert sum(len(each.docs) for each in embedders) == 600


async def test_who_is_stopped_leaves_what_was_made(
    vectors: MemoryVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_AT_ONCE", 10)
    many = Things({f"n{i}": f"n{i} text {i}" for i in range(100)})
    slow = CountingEmbedder()
    slow.pause_s = 0.03
    search = Search[str]("things", vectors, embedder=slow)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.12):
            await search.find(many, "n1", 1)
    kept = len(await vectors.load(SPACE))
    assert 0 < kept < 100
    quick = CountingEmbedder()
    assert await names(Search[str]("things", vectors, embedder=quick), many, "n7", 1) == ["n7"]
    assert len(quick.docs) == 100 - kept


async def test_queries_are_embedded_once_and_the_memory_of_them_is_bounded(
    search: Search[str],
    things: Things,
    embedder: CountingEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_module, "_MAX_REMEMBERED", 5)
    for query in ("banana", "banana", *(f"query {n}" for n in range(20)), "banana"):
        await search.find(things, query, 1)
    assert embedder.queries.count("banana") == 2
    assert len(search._asked) == 5


def test_one_search_serves_one_event_loop_after_the_other(
    search: Search[str], things: Things
) -> None:
    async def many() -> None:
        await asyncio.gather(*(search.find(things, f"banana {n}", 1) for n in range(20)))

    asyncio.run(many())
    asyncio.run(many())


async def test_making_vectors_leaves_the_event_loop_free(vectors: MemoryVectors) -> None:
    many = Things({f"n{i}": f"n{i} " + f"text {i} " * 40 for i in range(2000)})
    search = Search[str]("things", vectors)
    await search.find(Things({"a": "a b"}), "a", 1)  # loads numpy and the table
    clock = asyncio.get_running_loop().time
    gaps: list[float] = []

    async def watch() -> None:
        while True:
            before = clock()
            await asyncio.sleep(0.001)
            gaps.append(clock() - before)

    watching = asyncio.create_task(watch())
    await search.find(many, "n1", 1)
    watching.cancel()
    # Python hands over between threads every 5 ms; the bound catches work left in the loop.
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) * 9 // 10] < 0.05


# When the embedder fails


async def test_a_failing_embedder_is_told_and_nothing_takes_its_place(
    search: Search[str], things: Things, embedder: CountingEmbedder
) -> None:
    embedder.failure = SearchUnavailableError("the endpoint is down; start it")
    with pytest.raises(SearchUnavailableError, match="the endpoint is down; start it"):
        await search.find(things, "banana", 1)
    embedder.failure = ZeroDivisionError("oops")
    search._failing_until = 0.0
    with pytest.raises(SearchUnavailableError, match=r"ZeroDivisionError.*EMBEDDINGS"):
        await search.find(things, "banana", 1)


async def test_a_wrong_shape_is_told(things: Things, vectors: MemoryVectors) -> None:
    wrong = CountingEmbedder()
    search = Search[str]("things", vectors, embedder=wrong)
    await search.find(Things({}), "x", 1)
    wrong.dim = 32
    with pytest.raises(SearchUnavailableError, match=r"shape \(3, 32\) for 3 texts"):
        await search.find(things, "banana", 1)


async def test_words_do_where_the_operator_allows_it_and_every_hit_says_so(
    things: Things,
    embedder: CountingEmbedder,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = Search[str]("things", MemoryVectors(), embedder=embedder, fallback="lexical")
    embedder.failure = SearchUnavailableError("the endpoint is down")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            (hit,) = await search.find(things, "banana", 5)
            assert (hit.item.split()[0], hit.ranking) == ("banana", "lexical")
            monkeypatch.setattr(search, "_failing_until", 0.0)
    told = [record.message for record in caplog.records]
    assert told == ["things are searched by words alone: the endpoint is down"]
    embedder.failure = None
    assert (await search.find(things, "banana", 1))[0].ranking is None


async def test_a_failing_embedder_is_left_alone_for_a_while(
    search: Search[str], things: Things, embedder: CountingEmbedder
) -> None:
    embedder.failure = SearchUnavailableError("down")
    embedder.pause_s = 0.05
    start = asyncio.get_running_loop().time()
    results = await asyncio.gather(
        *(search.find(things, f"banana {n}", 1) for n in range(50)), return_exceptions=True
    )
    assert {type(result) for result in results} == {SearchUnavailableError}
    assert asyncio.get_running_loop().time() - start < 1.0


async def test_words_alone_can_be_chosen(things: Things) -> None:
    search = Search[str]("things", MemoryVectors(), embedder=Lexical())
    (hit,) = await search.find(things, "banana", 5)
    assert (hit.item.split()[0], hit.ranking) == ("banana", None)
    assert await search.find(things, "fruit", 5) == []


# Through the namespaces


async def test_agents_and_callers_share_one_index_and_get_the_same_scores() -> None:
    embedder = CountingEmbedder()
    services = Services(MemoryStorage(), limits=Limits(), embedder=embedder)
    source = '"""Greet somebody."""\ndef run(name): ...\n'
    await services.agent.call("skills", "create", ["greet", source], {})
    found = [
        [dict(hit) for hit in await door.call("skills", "search", ["greet"], {})]
        for door in (services.agent, services.api)
    ]
    assert found[0] == found[1]
    assert embedder.docs == ["greet. Greet somebody.\nname"]


async def test_the_fallback_is_seen_by_agents() -> None:
    embedder = CountingEmbedder()
    embedder.failure = SearchUnavailableError("down; start it")
    store = MemoryStorage()
    await store.skills.add("greet", '"""Greet somebody."""\ndef run(): ...\n')
    strict = Services(store, limits=Limits(), embedder=embedder)
    with pytest.raises(SearchUnavailableError, match="down; start it") as caught:
        await strict.agent.call("skills", "search", ["greet"], {})
    assert not isinstance(caught.value, InternalError)
    lenient = Services(store, limits=Limits(), embedder=embedder, search_fallback="lexical")
    (found,) = await lenient.agent.call("skills", "search", ["greet"], {})
    assert (found["name"], found["ranking"]) == ("greet", "lexical")
    assert found["score"] > 0


async def test_a_tool_is_found_by_each_of_its_recipes() -> None:
    store = MemoryStorage()
    recipes = {
        "fetch": "Download a web page",
        "measure": "Tell how long a server takes to answer",
        "weather": "Show whether it will rain tomorrow",
    }
    lines = "".join(f"  {name}: {{description: {text}}}\n" for name, text in recipes.items())
    definition = f"name: swiss\ndescription: Many things\ncommand: echo\nrecipes:\n{lines}"
    await store.tools.add("swiss", definition)
    others = ("sort", "Put lines in order"), ("cut", "Take columns of a table")
    for name, description in others:
        await store.tools.add(name, f"name: {name}\ndescription: {description}\ncommand: echo\n")
    door = Services(store, limits=Limits()).agent
    for query in ("latency of a host", "get this website", "umbrella or sunglasses"):
        found = await door.call("tools", "search", [query], {})
        assert found[0]["name"] == "swiss", query
        assert [hit["name"] for hit in found].count("swiss") == 1
