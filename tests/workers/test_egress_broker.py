"""The broker alone: a real second socket and real loopback servers, names from a table."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from py_code_mode.workers import broker as broker_module
from py_code_mode.workers.addresses import Address
from py_code_mode.workers.broker import Broker
from py_code_mode.workers.egress import EgressPolicy
from py_code_mode.workers.resolver import Resolver, look_up


class Names:
    """A name server: each name's answers in turn, the last for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.waits = threading.Event()
        self.waits.set()

    def __call__(self, name: str) -> Sequence[Address]:
        self.asked.append(name)
        self.waits.wait(10)
        answers = self.answers.get(name)
        if answers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [ip_address(text) for text in (answers.pop(0) if answers[1:] else answers[0])]


class Desk:
    """A broker, and the guest's end of its second socket."""

    def __init__(self, *patterns: str, burst: int = 1000) -> None:
        self.names = Names()
        self.killed: list[str] = []
        ours, self.guest = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest.settimeout(5)
        policy = EgressPolicy.parse(patterns, burst=burst)
        self.broker = Broker(
            policy,
            Resolver(self.names),
            ours,
            places=asyncio.Semaphore(200),
            kill=self.killed.append,
        )

    async def connect(self, host: str, port: int, **changes: Any) -> dict[str, Any]:
        fields = {"address": "", "version": 0, "timeout_s": 5.0, "token": 7}
        return await self.call("connect", host=host, port=port, **{**fields, **changes})

    async def call(self, operation: str, **fields: Any) -> dict[str, Any]:
        return await self.broker.call("the-session", operation, [], fields)

    def granted(self) -> tuple[int, socket.socket]:
        data, fds, _, _ = socket.recv_fds(self.guest, 100, 4)
        return int.from_bytes(data, "little"), socket.socket(fileno=fds[0])

    def got_nothing(self) -> bool:
        self.guest.setblocking(False)
        try:
            return not self.guest.recv(1)
        except BlockingIOError:
            return True

    def close(self) -> None:
        self.names.waits.set()
        self.broker.close()
        self.guest.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
        listening.settimeout(5)
        yield listening


@pytest.fixture
async def desk(server: socket.socket) -> AsyncIterator[Desk]:
    port = server.getsockname()[1]
    opened = Desk(f"127.0.0.1:{port}", f"*.test:{port}", "*.test:443")
    yield opened
    opened.close()


def _port(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


async def test_a_connection_is_granted_with_its_token(desk: Desk, server: socket.socket) -> None:
    assert await desk.connect("127.0.0.1", _port(server), token=12345) == {}
    token, sock = desk.granted()
    accepted, _ = server.accept()
    with sock, accepted:
        sock.settimeout(5)
        sock.sendall(b"hello")
        assert (token, accepted.recv(10)) == (12345, b"hello")
    assert not desk.killed


async def test_a_name_is_looked_up_once_for_a_look_up_and_a_connection(
    desk: Desk, server: socket.socket
) -> None:
    desk.names.answers["a.test"] = [["127.0.0.1"]]
    port = _port(server)
    found = await desk.call("resolve", host="A.Test.", port=port, version=4)
    assert found == {"addresses": ["127.0.0.1"]}
    assert await desk.connect("a.test", port, address="127.0.0.1") == {}
    assert desk.names.asked == ["a.test"]
    desk.granted()[1].close()


async def test_a_name_that_changes_its_address_leads_nowhere_else(
    desk: Desk, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "_REMEMBERED_S", 0.0)
    port = _port(server)
    with socket.create_server(("127.0.0.2", port)) as other:
        other.settimeout(0.1)
        desk.names.answers["a.test"] = [["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"]]
        assert await desk.connect("a.test", port) == {}
        for kind in ("loopback", "metadata"):
            refused = await desk.connect("a.test", port)
            assert refused["errno"] == errno.EPERM
            assert kind in refused["text"]
        with pytest.raises(TimeoutError):
            other.accept()
    desk.granted()[1].close()


async def test_the_address_that_a_guest_names_is_no_more_than_a_wish(desk: Desk) -> None:
    desk.names.answers["a.test"] = [["169.254.169.254", "10.0.0.1"]]
    for wish in ("10.0.0.1", "127.0.0.2", "x" * 5000, "fe80::1%1"):
        refused = await desk.connect("a.test", 443, address=wish)
        assert refused["errno"] == errno.EPERM
    assert desk.got_nothing()


async def test_a_wish_for_a_listed_address_needs_no_name(desk: Desk, server: socket.socket) -> None:
    assert await desk.connect("other.name", _port(server), address="127.0.0.1") == {}
    assert desk.names.asked == []
    desk.granted()[1].close()


async def test_what_is_not_listed_is_refused_without_a_look_up(
    desk: Desk, server: socket.socket
) -> None:
    port = _port(server)
    refused = [("example.org", 443), ("a.test", 80), ("127.0.0.1", port + 1), ("127.1", port)]
    for host, at in refused:
        assert (await desk.connect(host, at))["errno"] == errno.EPERM
        assert (await desk.call("resolve", host=host, port=at, version=0))["errno"] == errno.EPERM
    assert desk.names.asked == []
    assert desk.got_nothing()


async def test_failures_read_as_the_c_library_has_them(desk: Desk, server: socket.socket) -> None:
    desk.names.answers["v6.test"] = [["::1"]]
    unknown = await desk.connect("none.test", 443)
    assert unknown["lookup"] == socket.EAI_NONAME
    assert (await desk.connect("v6.test", 443, version=4))["lookup"] == socket.EAI_NONAME
    port = _port(server)
    server.close()
    refused = await desk.connect("127.0.0.1", port)
    assert refused == {"errno": errno.ECONNREFUSED, "text": "Connection refused"}


async def test_a_slow_look_up_ends_with_the_guests_patience(desk: Desk) -> None:
    desk.names.waits.clear()
    started = time.monotonic()
    answer = await desk.connect("a.test", 443, timeout_s=0.1)
    assert answer["errno"] == errno.ETIMEDOUT
    assert time.monotonic() - started < 2


async def test_slow_look_ups_do_not_gather_threads(desk: Desk) -> None:
    desk.names.waits.clear()
    answers = await asyncio.gather(
        *(desk.connect(f"n{number}.test", 443, timeout_s=0.2) for number in range(40))
    )
    assert {answer["errno"] for answer in answers} == {errno.ETIMEDOUT}
    assert len(desk.names.asked) == 4
    assert sum(thread.name == "egress-lookup" for thread in threading.enumerate()) <= 4
    desk.names.waits.set()
    desk.names.answers["b.test"] = [["10.0.0.1"]]
    assert (await desk.connect("b.test", 443))["errno"] == errno.EPERM


async def test_a_session_is_slowed_down_to_its_pace(server: socket.socket) -> None:
    desk = Desk(f"127.0.0.1:{_port(server)}", burst=5)
    try:
        started = time.monotonic()
        for _ in range(9):
            assert await desk.connect("127.0.0.1", _port(server)) == {}
            desk.granted()[1].close()
        assert 0.15 <= time.monotonic() - started < 2
        refused = [desk.connect("127.0.0.1", _port(server), timeout_s=0.05) for _ in range(3)]
        assert (await asyncio.gather(*refused))[-1]["errno"] == errno.ETIMEDOUT
    finally:
        desk.close()


async def test_few_descriptors_wait_for_a_guest_that_takes_none(
    desk: Desk, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "_TAKE_S", 0.2)
    answers = await asyncio.gather(
        *(desk.connect("127.0.0.1", _port(server), token=number) for number in range(40))
    )
    sent = [answer for answer in answers if answer == {}]
    assert 0 < len(sent) <= 16
    assert all(answer.get("errno", errno.ETIMEDOUT) == errno.ETIMEDOUT for answer in answers)
    for _ in sent:
        desk.granted()[1].close()
    assert await desk.connect("127.0.0.1", _port(server)) == {}
    desk.granted()[1].close()


async def test_a_guest_that_takes_them_slowly_gets_them_all(
    desk: Desk, server: socket.socket
) -> None:
    def take() -> set[int]:
        found = set()
        for _ in range(64):
            token, sock = desk.granted()
            sock.close()
            found.add(token)
        return found

    taking = asyncio.create_task(asyncio.to_thread(take))
    answers = await asyncio.gather(
        *(desk.connect("127.0.0.1", _port(server), token=number) for number in range(64))
    )
    assert answers == [{}] * 64
    assert await taking == set(range(64))


async def test_the_guests_end_can_send_nothing(desk: Desk) -> None:
    with pytest.raises(BrokenPipeError):
        desk.guest.send(b"x")
    with pytest.raises(BrokenPipeError):
        socket.send_fds(desk.guest, [b"x"], [0])


GOOD = {"host": "a.test", "port": 443, "version": 0}
MORE = {"address": "", "timeout_s": 1.0, "token": 1}
GARBAGE: dict[str, tuple[str, Any]] = {
    "an unknown operation": ("listen", GOOD),
    "a missing field": ("resolve", {"host": "a.test", "port": 443}),
    "a field too many": ("resolve", {**GOOD, "uid": 0}),
    "a host of bytes": ("resolve", {**GOOD, "host": b"a.test"}),
    "a host that is a list": ("resolve", {**GOOD, "host": ["a.test"]}),
    "a port that is text": ("resolve", {**GOOD, "port": "443"}),
    "a port that is a bool": ("resolve", {**GOOD, "port": True}),
    "a port out of range": ("resolve", {**GOOD, "port": 65536}),
    "a negative port": ("resolve", {**GOOD, "port": -1}),
    "a version of 5": ("resolve", {**GOOD, "version": 5}),
    "a connection without a port": ("connect", {**GOOD, **MORE, "port": 0}),
    "a timeout that is no number": ("connect", {**GOOD, **MORE, "timeout_s": float("nan")}),
    "a timeout of nothing": ("connect", {**GOOD, **MORE, "timeout_s": 0.0}),
    "a timeout of text": ("connect", {**GOOD, **MORE, "timeout_s": "1"}),
    "a token of 80 bits": ("connect", {**GOOD, **MORE, "token": 1 << 80}),
    "a negative token": ("connect", {**GOOD, **MORE, "token": -1}),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_a_forged_request_is_the_guests_last(desk: Desk, what: str) -> None:
    operation, fields = GARBAGE[what]
    assert (await desk.call(operation, **fields))["errno"] == errno.EPERM
    assert desk.killed == ["violation"]
    assert desk.names.asked == []


async def test_positional_arguments_are_forged_too(desk: Desk) -> None:
    await desk.broker.call("the-session", "resolve", [1], GOOD)
    assert desk.killed == ["violation"]


async def test_each_decision_is_a_line_of_the_audit_log(
    desk: Desk, server: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    port = _port(server)
    with caplog.at_level(logging.INFO, "py_code_mode.audit"):
        await desk.connect("127.0.0.1", port)
        await desk.connect("evil.example\nforged: line", 443)
        desk.names.answers["a.test"] = [["10.0.0.1"]]
        await desk.call("resolve", host="a.test", port=443, version=0)
    lines = [vars(record) for record in caplog.records]
    assert [(line["decision"], line["host"], line["port"]) for line in lines] == [
        ("granted", "127.0.0.1", port),
        ("refused", "evil.example\\nforged: line", 443),
        ("refused", "a.test", 443),
    ]
    assert {line["session_id"] for line in lines} == {"the-session"}
    assert lines[0]["address"] == "127.0.0.1"
    assert "10.0.0.1 is a private address" in lines[2]["reason"]
    assert not any("\n" in str(line[key]) for line in lines for key in ("host", "reason"))
    desk.granted()[1].close()


async def test_a_closed_broker_grants_nothing(desk: Desk, server: socket.socket) -> None:
    desk.broker.close()
    assert "errno" in await desk.connect("127.0.0.1", _port(server))


def test_the_hosts_own_resolver_gives_addresses() -> None:
    assert ip_address("127.0.0.1") in look_up("localhost")
    assert look_up("127.0.0.1") == [ip_address("127.0.0.1")]
