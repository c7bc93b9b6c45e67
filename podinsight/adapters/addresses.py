"""Which addresses may be fetched from, and at which addresses a host is.

Only public ones, unless a setting names the host: a feed or a redirect must not lead into the network that we are in.
"""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podinsight.errors import Refused

Resolver = Callable[[str, int], list[str]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_FORBIDDEN_V4 = tuple(
    ipaddress.IPv4Network(block)
    # Shared (CGNAT), protocol assignments, 6to4 relay, benchmarking; the metadata addresses that look public.
    for block in ("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "168.63.129.16/32")
)
_FORBIDDEN_V6 = tuple(
    ipaddress.IPv6Network(block)
    # IPv4-compatible, discard, documentation, site-local (old), local NAT64, unique local (metadata fd00:ec2::254).
    for block in ("::/96", "100::/64", "2001:db8::/32", "3fff::/20", "fec0::/10", "64:ff9b:1::/48", "fc00::/7")
)


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, by the system's resolver, which also reads odd spellings such as `0x7f.1`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def forbidden(address: str) -> str | None:
    """Why a request must not go to this address, or None if it is public."""
    try:
        parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unreadable"
    return _forbidden_v4(parsed) if isinstance(parsed, ipaddress.IPv4Address) else _forbidden_v6(parsed)


def _forbidden_v4(address: ipaddress.IPv4Address) -> str | None:
    reason = _kind(address)
    if reason is None and any(address in block for block in _FORBIDDEN_V4):
        return "reserved"
    return reason


def _forbidden_v6(address: ipaddress.IPv6Address) -> str | None:
    for inner in _embedded(address):
        reason = _forbidden_v4(inner)
        if reason:
            return f"{reason} ({inner})"
    if address.ipv4_mapped or address in _NAT64:
        return None  # Judged by the address inside; DNS64 gives the latter for every IPv4 host.
    reason = _kind(address)
    if reason is None and any(address in block for block in _FORBIDDEN_V6):
        return "reserved"
    return reason


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that packets to this IPv6 address may end at."""
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]


def _kind(address: Address) -> str | None:
    kinds = (
        (address.is_unspecified, "unspecified"),
        (address.is_loopback, "loopback"),
        (address.is_link_local, "link-local"),
        (address.is_multicast, "multicast"),
        (address.is_private, "private"),
        (address.is_reserved, "reserved"),
    )
    return next((name for applies, name in kinds if applies), None)


@dataclass(frozen=True)
class AddressGuard:
    """Resolves and checks.

    allowed_hosts: exact hostnames whose addresses are not checked.
    fixed: a hostname, or a suffix of hostnames on label boundaries, → its address, instead of what the resolver says;
        the longest that fits. It is checked like any other address.
    """

    allowed_hosts: frozenset[str]
    resolver: Resolver = resolve
    fixed: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed_hosts", frozenset(map(_plain, self.allowed_hosts)))
        object.__setattr__(self, "fixed", {_plain(name).lstrip("."): _plain(at) for name, at in self.fixed.items()})

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to.

        Raises:
            Refused: one of them is forbidden.
            OSError: the name does not resolve.
        """
        name = _plain(host)
        found = self._fixed(name) or self.resolver(name, port)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        if name not in self.allowed_hosts:
            for address in found:
                reason = forbidden(address)
                if reason:
                    raise Refused(
                        f"{name} is at {address}, a {reason} address: only public addresses are fetched "
                        "(exceptions are named in PODINSIGHT_ALLOWED_HOSTS)"
                    )
        return found

    def _fixed(self, name: str) -> list[str]:
        labels = name.split(".")
        suffixes = (".".join(labels[start:]) for start in range(len(labels)))
        return next(([self.fixed[suffix]] for suffix in suffixes if suffix in self.fixed), [])


def _plain(host: str) -> str:
    return host.strip("[] ").rstrip(".").lower()
