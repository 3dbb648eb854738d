"""Which addresses are public: those that anybody on the internet may reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# IANA's special-purpose addresses that are not globally reachable, multicast and reserved ones.
# Python's is_global knows other ones in each of its releases.
_NOT_PUBLIC = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # of carriers; metadata of Alibaba's machines
            "127.0.0.0/8",
            "168.63.129.16/32",  # public by its number, and inside Azure the platform
            "169.254.0.0/16",  # metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# All of IPv6 that is given to the public, less what is of special use within. Outside lie loopback,
# mapped, compatible, unique local, link-local and multicast addresses, and NAT64's prefixes.
_GIVEN_OUT = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols: Teredo, ORCHID, benchmarking
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)


def is_public(address: Address) -> bool:
    """Return whether the address is public; one that embeds an IPv4 address never is."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    if address.scope_id is not None or address not in _GIVEN_OUT:
        return False
    return not any(address in network for network in _NOT_PUBLIC_6)
