"""Which addresses http steps may connect to: public ones, unless the installation allows more.

Addresses are judged, never names: a name is resolved once, every address it has must pass, and the connection
goes to one of these very addresses. An address that carries another one inside (6to4, NAT64)
must pass for both; a mapped IPv4 address is that IPv4 address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from flowforge.errors import FlowforgeError
from flowforge.steps.settings import StepSettings

Address: TypeAlias = IPv4Address | IPv6Address

#: Refused whatever is allowed: link-local addresses and the fixed ones of cloud metadata services.
_METADATA = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, Azure, Google and nearly everyone else
            "fe80::/10",
            "100.100.100.200/32",  # Alibaba, inside the carrier range
            "168.63.129.16/32",  # Azure's wire server, a public address
            "192.0.0.192/32",  # Oracle
            "fd00:ec2::/32",  # AWS over IPv6, inside the private range
            "fd20:ce::/32",  # Google over IPv6
        ),
    )
)

#: Networks of an organisation's own: what "private addresses" means.
_PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"))
)

#: Not public, though some versions of `ipaddress` call a few of them global.
_RESERVED = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::/96",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",
            "2001:db8::/32",
            "5f00::/16",
            "ff00::/8",
        ),
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(FlowforgeError):
    """The address is not public."""

    def __init__(self, host: str, address: str, what: str, hint: str | None) -> None:
        where = address if host.strip("[]") == address else f"{host} ({address})"
        super().__init__(f"{where} is {what}: workers may not connect to it", hint=hint)
        self.host = host
        self.address = address


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the installation allows."""

    private: bool = False
    loopback: bool = False
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: StepSettings) -> AddressPolicy:
        """Return the policy of a worker's settings."""
        return cls(
            private=settings.allow_private_addresses,
            loopback=settings.allow_loopback or settings.allow_private_addresses,
            hosts=tuple(host.lower().rstrip(".") for host in settings.allowed_hosts),
        )

    def check(self, host: str, address: str) -> None:
        """Raise AddressRefused unless *host* may be reached at *address*."""
        if self._exempt(host):
            return
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            raise AddressRefused(host, address, "not an IP address", None) from None
        for candidate in _meant(parsed):
            refusal = self._refusal(candidate)
            if refusal is not None:
                raise AddressRefused(host, address, *refusal)

    def _exempt(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return any(
            name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed for allowed in self.hosts
        )

    def _refusal(self, address: Address) -> tuple[str, str | None] | None:
        """Say what kind of address is refused, and what would allow it."""
        if _among(address, _METADATA):
            return "a link-local or metadata address", None
        if address.is_loopback:
            hint = "set FLOWFORGE_ALLOW_LOOPBACK=1, or FLOWFORGE_ALLOW_PRIVATE_ADDRESSES=1 for all private ones"
            return None if self.loopback else ("an address of this machine", hint)
        if _among(address, _PRIVATE):
            hint = "set FLOWFORGE_ALLOW_PRIVATE_ADDRESSES=1, or name the host in FLOWFORGE_ALLOWED_HOSTS"
            return None if self.private else ("a private address", hint)
        if _among(address, _RESERVED) or not address.is_global or address.is_multicast or address.is_reserved:
            # NAT64 addresses count as global or reserved by version; what they carry is judged by itself.
            if address in _NAT64:
                return None
            return "not a public address", None
        return None


def _among(address: Address, networks: tuple[object, ...]) -> bool:
    return any(address in network for network in networks)  # type: ignore[operator]


def _meant(address: Address) -> Iterator[Address]:
    """Yield the addresses that packets to *address* can end up at."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
        if address in _NAT64:
            yield IPv4Address(int(address) & 0xFFFF_FFFF)
