"""Who may ask: the token, before anything else of a request is looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .raw import connected, post, read_head, send, status_of
from .serving import TOKEN, Client, Server, code_of, place, together

OTHER = "another-token-0123456789"
PATHS = [
    ("GET", "/info"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/openapi.json"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/api/tools"),
    ("GET", "/api/skills"),
    ("GET", "/api/artifacts"),
    ("GET", "/api/deps"),
    ("GET", "/nothing"),
    ("GET", "/"),
    ("GET", "//health"),
    ("GET", "/health/"),
    ("GET", "/health/../info"),
    ("GET", "/ready/x"),
    ("GET", "/HEALTH"),
    ("POST", "/execute"),
    ("POST", "/reset"),
    ("POST", "/interrupt"),
    ("POST", "/mcp"),
    ("DELETE", "/session"),
    ("OPTIONS", "/execute"),
    ("PUT", "/api/artifacts/a"),
]


@pytest.fixture(scope="module")
def rotating() -> Iterator[Server]:
    with place() as made:
        yield made.start(CONTAINER_AUTH_TOKEN=f" {TOKEN} ,, {OTHER},")


def test_nothing_is_open_but_health_and_ready(server: Server) -> None:
    def ask(method: str, path: str) -> tuple[int, str | None, str]:
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        answer = send(server, request)
        return status_of(answer), path, answer.decode()

    answers = together([lambda each=each: ask(*each) for each in PATHS])  # type: ignore[misc]
    assert [path for status, path, _ in answers if status != 401] == []
    assert all("www-authenticate: bearer" in answer.lower() for *_, answer in answers)
    assert all('"code": "unauthorized"' in answer for *_, answer in answers)
    with server.client(token=None) as nobody:
        assert nobody.get("/health").status_code == 200
        assert nobody.get("/ready").status_code == 200
        assert nobody.post("/health").status_code == 405


@pytest.mark.parametrize("token", [TOKEN, OTHER])
def test_while_a_token_is_rotated_both_work(rotating: Server, token: str) -> None:
    with rotating.client(token) as client:
        assert client.get("/info").status_code == 200


WRONG = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Basic " + TOKEN.encode(),
    TOKEN.encode(),
    b"Bearer " + TOKEN[:-1].encode(),
    b"Bearer " + TOKEN.encode() + b"x",
    b"Bearer " + TOKEN.upper().encode(),
    b"Bearer " + TOKEN.encode() + b" " + OTHER.encode(),
    b"Bearer " + TOKEN.encode() + b"," + OTHER.encode(),
    b"Bearer \xff\xfe\x80" + TOKEN.encode(),
    b"Bearer " + "токен-токен-токен".encode(),
    b"Bearer,",
    b"Bearer  ,",
]


def test_a_wrong_token_is_401_whatever_it_is_made_of(rotating: Server) -> None:
    def ask(header: bytes) -> int:
        return status_of(
            send(
                rotating,
                b"GET /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: "
                + header
                + b"\r\n\r\n",
            )
        )

    answers = together([lambda header=header: ask(header) for header in WRONG])  # type: ignore[misc]
    assert dict(zip(WRONG, answers, strict=True)) == dict.fromkeys(WRONG, 401)


def test_the_scheme_has_no_case(rotating: Server) -> None:
    with rotating.client(None) as client:
        for scheme in ("bearer", "BEARER"):
            answer = client.get("/info", headers={"Authorization": f"{scheme} {TOKEN}"})
            assert answer.status_code == 200


def test_a_body_is_not_read_before_the_token_is_known(server: Server) -> None:
    """The client would send 50 MB; what is taken of it is what fits into buffers."""
    with connected(server) as connection:
        connection.sendall(post("/execute", b"", headers=b"", size=50_000_000))
        connection.settimeout(3)
        sent = 0
        try:
            while sent < 50_000_000:
                sent += connection.send(b"x" * 65536)
        except OSError:  # closed, or nobody takes it
            pass
        assert sent < 20_000_000
    with connected(server) as connection:
        connection.sendall(post("/execute", b'{"code', headers=b"", size=50_000_000))
        answer = read_head(connection)
        assert status_of(answer) == 401
        assert b"connection: close" in answer.lower()


def test_failures_are_slow_and_never_delay_a_right_token(server: Server, client: Client) -> None:
    started = time.monotonic()
    with server.client(token="wrong-wrong-wrong-wrong") as stranger:
        assert code_of(stranger.get("/info")) == (401, "unauthorized")
    assert time.monotonic() - started >= 0.4

    def fail() -> int:
        return status_of(send(server, b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"))

    def ask() -> list[float]:
        took = []
        for _ in range(20):
            begun = time.monotonic()
            assert client.get("/api/deps").status_code == 200
            took.append(time.monotonic() - begun)
        return took

    results = together([ask, *[fail] * 150])
    assert results[1:] == [401] * 150
    assert isinstance(results[0], list)
    assert sorted(results[0])[10] < 0.4  # half of them did not wait as a failure does


def test_what_a_request_is_called_is_told_and_taken_from_it_where_it_is_harmless(
    client: Client,
) -> None:
    given = client.get("/info", headers={"X-Request-ID": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    made = client.get("/info", headers={"X-Request-ID": "no; spaces"})
    assert made.headers["x-request-id"] not in {"", "no; spaces"}
    assert (made.headers["x-content-type-options"], made.headers["cache-control"]) == (
        "nosniff",
        "no-store",
    )
