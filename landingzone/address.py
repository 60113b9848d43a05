"""Where a client comes from: what counts as one place, and whether it lies in a network that is named. Pure."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def network_of(address: str) -> str:
    """What counts as one place: an IPv4 address, or an IPv6 network of 64 bits, which one customer has to itself.

    >>> network_of("::ffff:192.0.2.1"), network_of("2001:db8::1:2%eth0"), network_of("")
    ('192.0.2.1', '2001:db8::/64', '')
    """
    known = _known(address)
    if known is None:
        return address[:64]
    if isinstance(known, IPv6Address):
        return str(ip_network((int(known) >> 64 << 64, 64)))
    return str(known)


def is_exempt(network: str, exempt: tuple[str, ...]) -> bool:
    """Whether a place lies in one of the networks that are exempt.

    >>> is_exempt("192.0.2.1", ("192.0.2.0/24",)), is_exempt("2001:db8::/64", ("192.0.2.0/24",))
    (True, False)
    """
    if not exempt or not network:
        return False
    place = ip_network(network)
    return any(
        place.version == other.version and place.subnet_of(other)  # type: ignore[arg-type]
        for other in map(ip_network, exempt)
    )


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address lies in one of some networks (CIDR).

    >>> is_within("::ffff:192.0.2.1", ("192.0.2.0/24",)), is_within("here", ("192.0.2.0/24",))
    (True, False)
    """
    known = _known(address)
    return known is not None and any(known in ip_network(network) for network in networks)


def _known(address: str) -> IPv4Address | IPv6Address | None:
    """An address; one of IPv4 that stands in IPv6 is that of IPv4. None: it is none."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(known, IPv6Address) and known.ipv4_mapped is not None:
        return known.ipv4_mapped
    return known
