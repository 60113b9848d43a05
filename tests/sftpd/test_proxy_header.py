"""The PROXY protocol's header: read whole or refused, whatever comes and however it is cut into pieces."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpd.proxy_header import MAX_BLOCK, MAX_LINE, SIGNATURE, ProxyHeader, ProxyHeaderError, parse_proxy_header

AFTER = b"SSH-2.0-x\r\n"
ports = st.integers(0, 65535)
pairs = st.one_of(*(st.tuples(kind, kind) for kind in (st.ip_addresses(v=4), st.ip_addresses(v=6))))
fields = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=100)), max_size=5)


def block(command: int, family: int, body: bytes) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(body)) + body


def addressed(source: ipaddress.IPv4Address | ipaddress.IPv6Address, target: object, port: int) -> bytes:
    """What a header of version 2 says of a connection's ends."""
    assert isinstance(target, ipaddress.IPv4Address | ipaddress.IPv6Address)
    return source.packed + target.packed + struct.pack(">HH", port, 22)


def typed(given: list[tuple[int, bytes]]) -> bytes:
    """The fields that may follow."""
    return b"".join(bytes([kind]) + struct.pack(">H", len(value)) + value for kind, value in given)


@given(pairs, ports, ports)
def test_a_line_gives_the_client(pair: tuple[ipaddress.IPv4Address, object], port: int, other: int) -> None:
    source, target = pair
    line = f"PROXY TCP{source.version} {source} {target} {port} {other}\r\n".encode()
    assert len(line) <= MAX_LINE
    assert parse_proxy_header(line + AFTER) == ProxyHeader(len(line), str(source), port)


@given(pairs, ports, fields)
def test_a_block_gives_the_client_and_its_further_fields_are_passed_over(
    pair: tuple[ipaddress.IPv4Address, object], port: int, further: list[tuple[int, bytes]]
) -> None:
    source, target = pair
    family = 0x11 if source.version == 4 else 0x21
    header = block(0x21, family, addressed(source, target, port) + typed(further))
    assert parse_proxy_header(header + AFTER) == ProxyHeader(len(header), str(source), port)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        block(0x20, 0x00, b""),
        block(0x20, 0x11, b"anything"),
        block(0x21, 0x00, b""),
        block(0x21, 0x00, typed([(4, b"x")])),
        block(0x21, 0x31, bytes(216)),
    ],
)
def test_a_balancer_may_speak_for_itself_or_not_know(header: bytes) -> None:
    assert parse_proxy_header(header + AFTER) == ProxyHeader(len(header))


V4 = ipaddress.IPv4Address("192.0.2.7")


@pytest.mark.parametrize(
    "data",
    [
        AFTER,
        b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 192.0.2.007 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
        b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n" + b"x" * MAX_LINE,
        b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN " + b"x" * MAX_LINE + b"\r\n",
        block(0x11, 0x11, addressed(V4, V4, 1)),
        block(0x22, 0x11, addressed(V4, V4, 1)),
        block(0x21, 0x12, addressed(V4, V4, 1)),
        block(0x21, 0x22, bytes(36)),
        block(0x21, 0x11, bytes(11)),
        block(0x21, 0x21, addressed(V4, V4, 1)),
        block(0x21, 0x11, addressed(V4, V4, 1) + b"\x04"),
        block(0x21, 0x11, addressed(V4, V4, 1) + b"\x04\x00\x05abcd"),
        block(0x21, 0x11, bytes(MAX_BLOCK))[:16],
    ],
)
def test_what_is_not_as_it_should_be_is_refused(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(data)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda rest: b"PROXY TCP4 " + rest),
        st.binary(max_size=300).map(lambda rest: SIGNATURE + rest),
        st.tuples(st.sampled_from([0x20, 0x21]), st.sampled_from([0, 0x11, 0x21, 0x31]), st.binary(max_size=300)).map(
            lambda of: block(*of)
        ),
    )
)
def test_it_comes_to_the_same_in_whatever_pieces_it_comes(data: bytes) -> None:
    outcomes = []
    for end in range(len(data) + 1):
        try:
            found = parse_proxy_header(data[:end])
        except ProxyHeaderError:
            outcomes.append("refused")
            break
        if found is not None:
            assert found.length <= end
            if found.address:
                ipaddress.ip_address(found.address)
            outcomes.append("read")
            break
        assert end < MAX_BLOCK
    try:
        whole = parse_proxy_header(data)
    except ProxyHeaderError:
        assert outcomes == ["refused"]
    else:
        assert outcomes == ([] if whole is None else ["read"])
