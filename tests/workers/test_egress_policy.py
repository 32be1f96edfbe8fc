"""What may be connected to: patterns, names, and the kinds of addresses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_code_mode.errors import ConfigurationError
from py_code_mode.workers.addresses import objection, parse_address
from py_code_mode.workers.egress import EgressPolicy, RefusedError, parse_host, parse_rule

PATTERNS = {
    "api.github.com:443": "api.github.com:443",
    " API.GitHub.com.:443 ": "api.github.com:443",
    "*.example.org:443": "*.example.org:443",
    "*:443": "*:443",
    "127.0.0.1:8000": "127.0.0.1:8000",
    "[::1]:8000": "[::1]:8000",
    "[2001:0DB8::0001]:1": "[2001:db8::1]:1",
    "[::ffff:127.0.0.1]:80": "127.0.0.1:80",
    "localhost:65535": "localhost:65535",
    "_service.xn--bcher-kva.example:1": "_service.xn--bcher-kva.example:1",
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_read(pattern: str) -> None:
    assert str(parse_rule(pattern)) == PATTERNS[pattern]


BAD_PATTERNS = {
    "": "a port is missing",
    "api.github.com": "a port is missing",
    "[::1]": "a port is missing",
    "https://api.github.com": "without a scheme",
    "https://api.github.com:443": "without a scheme",
    "api.github.com/v3:443": "paths and ranges",
    "10.0.0.0/8:443": "paths and ranges",
    "api.github.com:": "'' is no port",
    "api.github.com:https": "'https' is no port",
    "api.github.com:0": "'0' is no port",
    "api.github.com:65536": "'65536' is no port",
    "api.github.com:-1": "'-1' is no port",
    "api.github.com:4 43": "'4 43' is no port",
    "api.github.com:\u0661": "is no port",
    "api.github.com:" + "9" * 5000: "is no port",
    "::1:8000": "in brackets",
    "fe80::1": "in brackets",
    "[fe80::1%eth0]:80": "must be an IPv6 address",
    "[api.github.com]:443": "must be an IPv6 address",
    "[::1:443": "must be an IPv6 address",
    "bücher.example:443": "xn--",
    ":443": "neither a host name nor an address",
    "a..b:443": "neither a host name nor an address",
    "-a.example:443": "neither a host name nor an address",
    "user@host.example:443": "neither a host name nor an address",
    "a b.example:443": "neither a host name nor an address",
    "a\n.example:443": "neither a host name nor an address",
    "x" * 64 + ".example:443": "neither a host name nor an address",
    "2130706433:80": "no address in its usual form",
    "0177.0.0.1:80": "no address in its usual form",
    "127.1:80": "no address in its usual form",
    "0x7f.0.0.1:80": "no address in its usual form",
    "*.127.0.0.1:80": "before a name",
    "api.*.example:443": "the whole first label",
    "*example.org:443": "the whole first label",
    "**.example.org:443": "the whole first label",
    "*.:443": "neither a host name nor an address",
    "0.0.0.0:80": "no address of one host",
    "[::]:80": "no address of one host",
    "224.0.0.1:80": "no address of one host",
}


@pytest.mark.parametrize("pattern", BAD_PATTERNS, ids=lambda pattern: ascii(pattern)[:40])
def test_a_bad_pattern_is_told_what_is_wrong_with_it(pattern: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EgressPolicy.parse([pattern])
    assert BAD_PATTERNS[pattern] in str(caught.value)
    assert repr(pattern) in str(caught.value)


def test_all_bad_patterns_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        EgressPolicy.parse(["ok.example:1", "one", "two:x"])
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("patterns", ["ok.example:443", [443]])
def test_patterns_are_a_list_of_texts(patterns: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        EgressPolicy.parse(patterns)


POLICY = EgressPolicy.parse(
    ["api.example:443", "*.example.org:443", "127.0.0.1:8000", "[::1]:8000", "[fd00::5]:80"]
)
FITS = {
    ("api.example", 443): True,
    ("API.Example.", 443): True,
    ("api.example", 80): False,
    ("api.example", 0): True,
    ("www.api.example", 443): False,
    ("xapi.example", 443): False,
    ("a.example.org", 443): True,
    ("a.b.example.org", 443): True,
    ("example.org", 443): False,
    ("evilexample.org", 443): False,
    ("a.example.org.evil.example", 443): False,
    ("127.0.0.1", 8000): True,
    ("127.0.0.1", 8001): False,
    ("127.0.0.2", 8000): False,
    ("::ffff:127.0.0.1", 8000): True,
    ("::1", 8000): True,
    ("0:0:0:0:0:0:0:1", 8000): True,
    ("localhost", 8000): False,
    ("169.254.169.254", 443): False,
}


@pytest.mark.parametrize(("host", "port"), FITS)
def test_a_host_is_allowed_by_its_name_and_port(host: str, port: int) -> None:
    assert POLICY.lists(parse_host(host), port) is FITS[host, port]


def test_a_refusal_says_what_is_allowed_and_whom_to_ask() -> None:
    policy = EgressPolicy.parse([f"h{number}.example:1" for number in range(10)])
    with pytest.raises(RefusedError) as caught:
        policy.check_host("other.example", 443)
    for said in ("other.example:443", "h0.example:1", "h7.example:1", "2 more", "EGRESS_ALLOW"):
        assert said in str(caught.value)


def test_any_name_is_no_address() -> None:
    policy = EgressPolicy.parse(["*:443"])
    assert policy.lists("a.example", 443)
    assert not policy.lists(ip_address("192.0.2.1"), 443)


NO_HOSTS = [
    "", ".", "a..b", "a\0b", "a\nb", "a b", "a/b", "a:b", "a@b", "[::1]", "fe80::1%eth0", "1::%1",
    "-a", "a-", "bücher", "127。0。0。1", "x" * 254, "x" * 64, "1", "127.1", "2130706433",
    "0177.0.0.1", "0x7f000001", "0x7f.1", "127.0.0.01", "127.0.0.1.", "256.1.1.1", "1.2.3.4.5",
    "a.0x", "*.example", "127.0.0.1\n", " 127.0.0.1", "\u0661\u0662\u0667.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_HOSTS, ids=ascii)
def test_what_is_no_host_is_not_looked_up(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|address"):
        parse_host(text)


@given(st.text(max_size=300))
def test_a_host_is_plain_whatever_was_written(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    if isinstance(host, str):
        assert host.isascii()
        assert host == host.lower()
        assert not set(host) & set(" \0\n/@:%*[]")
        assert parse_host(host) == host


KINDS = {
    "93.184.215.14": None,
    "1.1.1.1": None,
    "172.32.0.1": None,
    "100.128.0.1": None,
    "2606:2800:21f:cb07::1": None,
    "64:ff9b::5db8:d70e": None,
    "::ffff:93.184.215.14": None,
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "168.63.129.16": "metadata",
    "100.100.100.200": "metadata",
    "192.0.0.192": "metadata",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "::ffff:169.254.169.254": "metadata",
    "64:ff9b::a9fe:a9fe": "metadata",
    "2002:a9fe:a9fe::1": "metadata",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "127.0.0.1": "loopback",
    "127.255.255.255": "loopback",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "64:ff9b::7f00:1": "loopback",
    "2002:7f00:1::": "loopback",
    "169.254.0.1": "link-local",
    "fe80::1": "link-local",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.255.255": "private",
    "fc00::1": "private",
    "fdff::1": "private",
    "fec0::1": "private",
    "::ffff:10.0.0.1": "private",
    "64:ff9b::a00:1": "private",
    "2002:c0a8:1::": "private",
    "100.64.0.1": "carrier-grade",
    "100.127.255.255": "carrier-grade",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "ff02::1": "multicast",
    "192.0.2.1": "documentation",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "192.88.99.1": "6to4",
    "2002:5db8:d70e::1": "6to4",
    "192.0.0.8": "reserved",
    "198.18.0.1": "reserved",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "2001::1": "reserved",
    "2001:20::1": "reserved",
    "::127.0.0.1": "reserved",
    "64:ff9b:1::a00:1": "reserved",
    "100::1": "reserved",
    "4000::1": "reserved",
}


@pytest.mark.parametrize("text", KINDS)
def test_the_kind_of_an_address_is_known(text: str) -> None:
    kind = KINDS[text]
    found = objection(ip_address(text))
    assert found is None if kind is None else found is not None and kind in found


@given(st.ip_addresses(v=4))
def test_no_address_is_public_that_the_library_calls_private(address: object) -> None:
    known = ip_address(str(address))
    if objection(known) is None:
        assert not known.is_private
        assert not known.is_multicast


@given(st.ip_addresses(v=4))
def test_disguises_of_an_address_are_of_its_kind(address: object) -> None:
    plain = objection(ip_address(str(address)))
    low = int(ip_address(str(address)))
    for disguise in (0xFFFF << 32 | low, 0x64FF9B << 96 | low):
        found = objection(ip_address(disguise.to_bytes(16, "big")))
        assert (found is None) is (plain is None)


def test_a_name_may_lead_to_a_listed_address_only_on_its_port() -> None:
    loopback, private = ip_address("127.0.0.1"), ip_address("10.0.0.1")
    assert POLICY.permitted("api.example", [private, loopback], 8000) == [loopback]
    with pytest.raises(RefusedError, match=r"127\.0\.0\.1 is a loopback address"):
        POLICY.permitted("api.example", [loopback], 443)
    assert POLICY.permitted("api.example", [], 443) == []


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "::FFFF:1.2.3.4"])
def test_an_address_is_read(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert parse_address(str(address)) == address
