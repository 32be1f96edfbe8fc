"""Files up and down: as bytes, with headers that no browser can be fooled with."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from .raw import AUTHORIZED, connected, read_head, status_of
from .serving import Client, Server, code_of, place, together


@pytest.fixture
def name() -> str:
    return f"f-{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def roomy() -> Iterator[Server]:
    """A server whose files may be larger than other bodies."""
    with place() as made:
        yield made.start(MAX_BODY_BYTES="100000", MAX_ARTIFACT_BYTES="5000000")


def test_a_file_comes_back_as_it_went(client: Client, name: str) -> None:
    data = secrets.token_bytes(200_000)
    made = client.put(f"/api/artifacts/{name}/a b.bin", content=data)
    assert made.status_code == 201
    assert (made.json()["size"], made.json()["media_type"]) == (200_000, "application/octet-stream")
    back = client.get(f"/api/artifacts/{name}/a b.bin?raw")
    assert back.content == data
    assert back.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b.bin"
    assert back.headers["x-content-type-options"] == "nosniff"
    assert back.headers["content-security-policy"].startswith("sandbox")
    assert back.headers["content-length"] == "200000"


def test_a_file_may_be_larger_than_a_body_and_is_then_not_json(roomy: Server, name: str) -> None:
    with roomy.client() as client:
        data = bytes(4_000_000)
        chunks = (data[at : at + 65536] for at in range(0, len(data), 65536))
        assert client.put(f"/api/artifacts/{name}", content=chunks).status_code == 201
        assert client.get(f"/api/artifacts/{name}?raw").content == data
        refusal = client.get(f"/api/artifacts/{name}")
        assert code_of(refusal) == (413, "artifact_too_large")
        assert "?raw" in refusal.json()["detail"]
        assert client.value(f"len(artifacts.load('{name}'))") == 4_000_000


def test_a_file_over_the_limit_is_413_and_leaves_what_there_was(roomy: Server, name: str) -> None:
    with roomy.client() as client:
        client.put(f"/api/artifacts/{name}", content=b"old")
        large = bytes(5_000_001)
        assert code_of(client.put(f"/api/artifacts/{name}", content=large)) == (
            413,
            "body_too_large",
        )
        chunks = (large[at : at + 65536] for at in range(0, len(large), 65536))
        assert code_of(client.put(f"/api/artifacts/{name}", content=chunks)) == (
            413,
            "body_too_large",
        )
        assert client.get(f"/api/artifacts/{name}?raw").content == b"old"
        assert client.put(f"/api/artifacts/{name}", content=large[:-1]).status_code == 201


def test_a_client_that_goes_away_half_way_leaves_what_there_was(
    server: Server, client: Client, name: str
) -> None:
    client.put(f"/api/artifacts/{name}", content=b"old")
    with connected(server) as connection:
        head = f"PUT /api/artifacts/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        connection.sendall(head.encode() + AUTHORIZED + b"\r\n" + b"new" * 1000)
    assert client.get(f"/api/artifacts/{name}?raw").content == b"old"
    assert client.put(f"/api/artifacts/{name}", content=b"newer").status_code == 201


def test_files_that_hang_keep_nobody_else_waiting_for_json(server: Server, client: Client) -> None:
    """As many uploads as there are places stand still; all but further uploads goes on."""
    sockets = []
    for number in range(4):
        made = connected(server)
        connection = made.__enter__()
        sockets.append(made)
        head = f"PUT /api/artifacts/hang-{number} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        connection.sendall(head.encode() + AUTHORIZED + b"\r\nx")
    assert client.value("1") == 1
    assert client.post("/api/artifacts", json={"name": "j", "data": 1}).status_code == 201
    for made in sockets:
        made.__exit__(None, None, None)
    assert client.put("/api/artifacts/after", content=b"x").status_code == 201


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("text/csv", "text/csv"),
        ("TEXT/CSV; charset=latin1", "text/csv"),
        ("application/vnd.ms-excel", "application/vnd.ms-excel"),
    ],
)
def test_the_media_type_is_kept(client: Client, name: str, sent: str, kept: str) -> None:
    client.put(f"/api/artifacts/{name}", content=b"a,b", headers={"Content-Type": sent})
    back = client.get(f"/api/artifacts/{name}?raw")
    assert back.headers["content-type"].partition(";")[0] == kept


@pytest.mark.parametrize(
    "sent", ["", "x", "text/", "/csv", "text/csv/x", "text/c\u00e4v", "a" * 300]
)
def test_what_is_no_media_type_is_refused(client: Client, name: str, sent: str) -> None:
    headers = {b"Content-Type": sent.encode("latin-1")}
    refusal = client.put(f"/api/artifacts/{name}", content=b"x", headers=headers)
    assert code_of(refusal) == (422, "invalid_argument")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("b'\\x00'", "application/octet-stream"),
        ("'text'", "text/plain"),
        ("[1]", "application/json"),
    ],
)
def test_values_have_media_types_too(client: Client, name: str, data: str, kind: str) -> None:
    client.run(f"artifacts.save('{name}', {data})")
    back = client.get(f"/api/artifacts/{name}?raw")
    assert back.headers["content-type"].partition(";")[0] == kind


HOSTILE = [
    'x".html',
    "x\\r\\nSet-Cookie: a=b",
    "<script>.html",
    "\u202egnp.exe",
    "a;b",
    "ä.txt",
    "100%",
]


@pytest.mark.parametrize("odd", HOSTILE)
def test_an_agents_name_never_becomes_a_header(client: Client, name: str, odd: str) -> None:
    saved = client.run(f"artifacts.save({name + odd!r}, b'<script>alert(1)</script>')")
    if not saved["is_ok"]:
        assert saved["error_type"] == "InvalidArtifactNameError"
        return
    back = client.get("/api/artifacts/" + _encoded(name + odd) + "?raw")
    assert back.status_code == 200
    assert back.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert back.headers["content-disposition"].isascii()
    assert not {'"', "<", ";x", "\r", "\n"} & set(back.headers["content-disposition"][30:])
    assert "set-cookie" not in back.headers
    assert back.headers["content-type"] == "application/octet-stream"


def _encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def test_html_and_svg_are_never_shown(client: Client, name: str) -> None:
    for kind in ("text/html", "image/svg+xml"):
        client.put(f"/api/artifacts/{name}", content=b"<script>", headers={"Content-Type": kind})
        back = client.get(f"/api/artifacts/{name}?raw")
        assert back.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in back.headers["content-security-policy"]


def test_many_write_one_file_and_readers_see_one_of_them_whole(
    server: Server, client: Client, name: str
) -> None:
    bodies = [bytes([number]) * 150_000 for number in range(8)]
    client.put(f"/api/artifacts/{name}", content=bodies[0])

    def write(body: bytes) -> bool:
        return client.put(f"/api/artifacts/{name}", content=body).status_code == 201

    def look(_: bytes) -> bool:
        return client.get(f"/api/artifacts/{name}?raw").content in bodies

    works = [lambda do=do, body=body: do(body) for body in bodies for do in (write, look)]
    assert together(works) == [True] * 16


def test_a_path_is_a_name_and_nothing_else(server: Server) -> None:
    for path in ("/api/artifacts/../../../etc/passwd", "/api/artifacts/%2e%2e/%2e%2e/etc/passwd"):
        with connected(server) as connection:
            connection.sendall(
                f"GET {path}?raw HTTP/1.1\r\nHost: x\r\n".encode() + AUTHORIZED + b"\r\n"
            )
            assert status_of(read_head(connection)) == 422
