"""Files up and down in streams: the server's memory stays flat, and what breaks off leaves nothing.

Where the store can hold bodies in memory alone, all that are on their way have a bound together.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from redis_server import RedisSource

from .raw import AUTHORIZED, connected
from .serving import Client, Place, Server, code_of, eventually

MB = 1_000_000
CHUNK = bytes(range(256)) * 1024
LARGE = 200 * MB
#: What a server may take for itself meanwhile: pieces under way, and what its allocator keeps.
FLAT_MB = 40


def chunks(size: int) -> Iterator[bytes]:
    """Yield a body of so many bytes."""
    for start in range(0, size, len(CHUNK)):
        yield CHUNK[: min(len(CHUNK), size - start)]


def digest(pieces: Iterator[bytes]) -> str:
    found = hashlib.blake2b()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def peak_mb(server: Server, *, anew: bool = False) -> float:
    """Return the most memory that the server had, since it was measured ``anew``."""
    if anew:
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def files(folder: Path) -> set[Path]:
    """Return the files that hold bodies, or parts of them."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path for path in found if "records" not in path.parts and path.name != "lock"}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["files", "redis"])
def test_200_mb_go_up_and_down_and_the_servers_memory_stays_flat(
    own: Place, redis_servers: RedisSource, kind: str
) -> None:
    settings = {}
    if kind == "redis":
        settings = {
            "REDIS_URL": redis_servers.start().url,
            "ARTIFACTS_PATH": str(own.folder / "bodies"),
        }
    server = own.start(**settings)
    with server.client(timeout=100) as client:
        client.put("/api/artifacts/warm", content=bytes(MB))
        client.get("/api/artifacts/warm?raw")
        before = peak_mb(server, anew=True)
        made = client.put("/api/artifacts/large", content=chunks(LARGE))
        assert (made.status_code, made.json()["size"]) == (201, LARGE)
        after_up = peak_mb(server)
        with client.stream("GET", "/api/artifacts/large?raw") as back:
            assert back.headers["content-length"] == str(LARGE)
            assert digest(back.iter_bytes()) == digest(chunks(LARGE))
        assert peak_mb(server) - before < FLAT_MB, (before, after_up, peak_mb(server))


def test_until_a_file_is_whole_there_is_the_old_one_and_then_nothing_is_left(
    own: Place,
) -> None:
    server = own.start()
    store = own.folder / "store"
    with server.client() as client:
        client.put("/api/artifacts/a", content=b"old")
        before = files(store)
        with connected(server) as connection:
            head = f"PUT /api/artifacts/a HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n"
            connection.sendall(head.encode() + AUTHORIZED + b"\r\n")
            for piece in chunks(8 * MB):
                connection.sendall(piece)
            eventually(lambda: sum(each.stat().st_size for each in files(store) - before) > 5 * MB)
            assert client.get("/api/artifacts/a?raw").content == b"old"
            assert len(client.get("/api/artifacts").json()) == 1
        # The connection ends in the middle of the body.
        eventually(lambda: files(store) == before)
        assert client.get("/api/artifacts/a?raw").content == b"old"
        eventually(lambda: "pycodemode_requests_active 0.0" in client.get("/metrics").text)


@pytest.mark.root  # nobody else may see what the server has open
def test_a_reader_who_goes_away_leaves_no_open_file(own: Place) -> None:
    server = own.start()
    with server.client() as client:
        client.put("/api/artifacts/a", content=chunks(20 * MB))
        for _ in range(5):
            with client.stream("GET", "/api/artifacts/a?raw") as back:
                next(back.iter_raw(1000))
        assert client.put("/api/artifacts/a", content=b"new").status_code == 201
        eventually(lambda: not any("artifacts/a" in each for each in opened(server)))
        assert client.get("/api/artifacts/a?raw").content == b"new"


def opened(server: Server) -> list[str]:
    """Return what the server has open."""
    return [str(each.readlink()) for each in Path(f"/proc/{server.pid}/fd").iterdir()]


def test_files_beyond_the_places_there_are_wait_and_are_told_to_come_back(own: Place) -> None:
    server = own.start()
    with server.client() as client, contextlib.ExitStack() as held:
        for number in range(7):
            held.enter_context(hanging(server, f"hang-{number}", MB))
        with hanging(server, "hang-last", MB):
            refusal = client.put("/api/artifacts/more", content=b"x")
            assert code_of(refusal) == (429, "capacity")
            assert int(refusal.headers["retry-after"]) >= 1
        assert client.put("/api/artifacts/more", content=b"x").status_code == 201
        assert client.value("1") == 1


@contextlib.contextmanager
def hanging(server: Server, name: str, size: int) -> Iterator[None]:
    """A client that begins to send a file, and goes no further."""
    head = f"PUT /api/artifacts/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n"
    with connected(server) as connection, server.client() as client:
        before = active(client)
        connection.sendall(head.encode() + AUTHORIZED + b"\r\nx")
        eventually(lambda: active(client) == before + 1)
        yield


def active(client: Client) -> float:
    """Return how many requests are under way."""
    figures = client.get("/metrics").text
    found = re.search(r"^pycodemode_requests_active (\S+)$", figures, re.MULTILINE)
    assert found
    return float(found[1])


@pytest.fixture
def held_whole(own: Place, redis_servers: RedisSource) -> Iterator[tuple[Server, Client]]:
    """A server whose store holds bodies whole: a Redis without a folder for them."""
    url = redis_servers.start().url
    server = own.start(REDIS_URL=url, MAX_ARTIFACT_BYTES=str(5 * MB))
    with server.client() as client:
        yield server, client


def test_where_bodies_are_held_whole_all_of_them_have_a_bound(
    held_whole: tuple[Server, Client],
) -> None:
    server, client = held_whole
    with hanging(server, "slow", 4 * MB):
        large = client.put("/api/artifacts/large", content=bytes(2 * MB))
        assert code_of(large) == (429, "capacity")
        unknown = client.put("/api/artifacts/unknown", content=iter([b"x"]))
        assert code_of(unknown) == (429, "capacity")  # it may be as large as any
        assert client.put("/api/artifacts/small", content=bytes(MB // 2)).status_code == 201
    assert client.put("/api/artifacts/large", content=chunks(5 * MB)).status_code == 201
    with client.stream("GET", "/api/artifacts/large?raw") as back:
        assert digest(back.iter_bytes()) == digest(chunks(5 * MB))
