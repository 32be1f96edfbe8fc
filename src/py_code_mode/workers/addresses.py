"""Which addresses agent code is not connected to, whatever name leads to them."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address

#: Special blocks, the narrow ones first; from IANA's registries of special-purpose addresses.
#: Python's own ``is_private`` and ``is_global`` differ between its patch releases.
_BLOCKS: Final[tuple[tuple[IPv4Network | IPv6Network, str], ...]] = tuple(
    (ip_network(block), kind)
    for kind, blocks in (
        (
            "an address of cloud metadata",
            "169.254.169.254 169.254.170.2 168.63.129.16 100.100.100.200 192.0.0.192"
            " fd00:ec2::254 fd20:ce::254",
        ),
        ("an unspecified address", "0.0.0.0/8 ::/128"),
        ("a loopback address", "127.0.0.0/8 ::1/128"),
        ("a link-local address", "169.254.0.0/16 fe80::/10"),
        ("a private address", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        ("an address of carrier-grade NAT", "100.64.0.0/10"),
        ("a multicast address", "224.0.0.0/4 ff00::/8"),
        (
            "an address kept for documentation",
            "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        ),
        ("a relayed 6to4 address", "192.88.99.0/24 2002::/16"),
        ("a reserved address", "192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 2001::/23"),
    )
    for block in blocks.split()
)
#: All that IPv6 routes between networks; what lies outside is of no public host.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
#: Stand for an IPv4 address in their last 32 bits, or (6to4) behind their first 16.
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")


def parse_address(text: str) -> Address | None:
    """Return the address that ``text`` is in its usual form, else None.

    Zones, and the other forms that C libraries take for IPv4 (integers, octal), are not usual.
    """
    try:
        return None if "%" in text else canonical(ip_address(text))
    except ValueError:
        return None


def canonical(address: Address) -> Address:
    """Return the address that a connection would really go to: of a mapped one, the IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def objection(address: Address) -> str | None:
    """Return what kind of non-public address this is, None for a public one."""
    address = canonical(address)
    if isinstance(address, IPv6Address):
        inner = _embedded(address)
        found = objection(inner) if inner is not None else None
        if found is not None:
            return f"{found} ({inner})"
        if address in _NAT64:
            return None
    for block, kind in _BLOCKS:
        if address in block:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return "a reserved address"
    return None


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour if address in _SIX_TO_FOUR else None
