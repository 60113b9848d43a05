"""asyncssh's server connection with its hot paths made short. What a client sees is the same, packet by packet.

asyncssh is written to serve every cipher and purpose; a door that takes files spends its time in a few lines of it:

- Each received packet cuts the whole rest of what was read into new bytes, several times; here a position moves on.
- AES-GCM and HMAC are set up anew for each packet; here once for each key. Packets are opened into one piece of memory
  that all connections of the process use one after the other, so that it stays in the processor's cache.
- Before each packet an empty one is sent (MSG_IGNORE), which protects ciphers in CBC mode. None is offered here, and
  OpenSSH does so for these only.
- Each packet that is sent is a call of the system; here all that are sent in one turn of the loop go in one.
- What a packet holds is told to the log, at great length, before it is asked whether anybody listens.
- At each login all options are worked out anew, for settings that depend on the user; there are none here.
- A user name is taken apart letter by letter, also if it is plain ASCII, in which nothing is ever changed.

Data of a channel goes straight to who has signed up for it (`intakes`). Every other packet, and every one that is not
as it should be, goes asyncssh's own way, so that there is one place only that judges it.

This stands on names that asyncssh may change in any version: it is pinned exactly, and tests/sftpd/test_packets.py
holds the behaviour.
"""

import asyncio
import contextlib
import hmac
import os
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import asyncssh.connection
import asyncssh.encryption
import asyncssh.logging
from asyncssh import MACError, ProtocolError
from asyncssh.connection import SSHServerConnection
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_KEX_LAST, MSG_USERAUTH_BANNER, MSG_USERAUTH_LAST
from asyncssh.crypto.cipher import BasicCipher, GCMCipher
from asyncssh.encryption import ETMEncryption, GCMEncryption
from asyncssh.mac import _HMAC
from asyncssh.packet import SSHPacket, SSHPacketLogger
from asyncssh.saslprep import saslprep
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_DATA_HEAD = 10
"""Bytes of an opened packet before a channel's data: length of the padding, kind, channel, length."""
_CHANNEL_DATA = struct.Struct(">II")
_SCRATCH = memoryview(bytearray(2 * asyncssh.connection._DEFAULT_RECV_PKTLEN))  # noqa: SLF001 - the longest packet taken
"""Where packets are opened; whoever is given a part of it has used it when the call returns."""

Intake = Callable[[memoryview], bool]
"""Takes data of a channel, which it must not keep; False: it was not taken, and asyncssh shall handle it."""


class Gcm(GCMEncryption):
    """AES-GCM in one direction: its key is set up once, and nothing is copied that need not be."""

    tag = 16

    def __init__(self, cipher: GCMCipher) -> None:
        super().__init__(cipher)
        self._aead = AESGCM(cipher._key)  # noqa: SLF001 - given to this object alone
        self._fixed, self._count = cipher._iv[:4], int.from_bytes(cipher._iv[4:])  # noqa: SLF001
        self.opened: bytes | None = None

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:  # noqa: ARG002
        """Seal a packet; the tag stands at its end."""
        return header + self._aead.encrypt(self._next_iv(), packet, header), b""

    def decrypt_packet(
        self,
        seq: int,  # noqa: ARG002 - asyncssh's signature
        first: bytes,
        rest: bytes,
        header_len: int,
        mac: bytes,
    ) -> bytes | None:
        """Open a packet, or give the one that has been opened; None if its tag is wrong."""
        if self.opened is not None:
            opened, self.opened = self.opened, None
            return opened
        try:
            return self._aead.decrypt(self._next_iv(), first[header_len:] + rest + mac, first[:header_len])
        except InvalidTag:
            return None

    def open_into(self, seq: int, packet: memoryview, opened: memoryview) -> None:  # noqa: ARG002
        """Open a packet into memory of its length, without length and tag. Raises MACError if its tag is wrong."""
        try:
            self._aead.decrypt_into(self._next_iv(), packet[4:], packet[:4], opened)
        except InvalidTag:
            raise MACError("MAC verification failed") from None

    def _next_iv(self) -> bytes:
        count, self._count = self._count, self._count + 1 & 0xFFFF_FFFF_FFFF_FFFF
        return self._fixed + count.to_bytes(8)


class Etm(ETMEncryption):
    """A cipher and, over what it has encrypted, a MAC, in one direction; what stock OpenSSH clients choose."""

    def __init__(self, cipher: BasicCipher, mac: Any) -> None:  # noqa: ANN401 - asyncssh's MAC, and its inner state
        super().__init__(cipher, mac)
        self.tag: int = mac._hash_size  # noqa: SLF001
        self.opened: bytes | None = None
        self._begun = hmac.new(mac._key, digestmod=mac._hash_alg) if isinstance(mac, _HMAC) else None  # noqa: SLF001

    def decrypt_packet(self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes) -> bytes | None:
        """Open a packet, or give the one that has been opened; None if its MAC is wrong."""
        if self.opened is not None:
            opened, self.opened = self.opened, None
            return opened
        return super().decrypt_packet(seq, first, rest, header_len, mac)

    def open_into(self, seq: int, packet: memoryview, opened: memoryview) -> None:
        """Open a packet into memory of its length, without length and MAC. Raises MACError if its MAC is wrong."""
        if not self._is_right(seq, packet[: -self.tag], packet[-self.tag :]):
            raise MACError("MAC verification failed")
        opened[:] = self._cipher.decrypt(packet[4 : -self.tag])  # type: ignore[arg-type]  # any buffer will do

    def _is_right(self, seq: int, packet: memoryview, tag: memoryview) -> bool:
        if self._begun is None:
            return self._mac.verify(seq, bytes(packet), bytes(tag))
        mac = self._begun.copy()
        mac.update(seq.to_bytes(4))
        mac.update(packet)
        return hmac.compare_digest(mac.digest()[: self.tag], tag)


class Gathered:
    """Data of one channel, from packets that came together, put side by side as they are opened.

    Each packet is opened so that its data begins where those of the last one end. The head of the packet falls on the
    last bytes there, which are put back.
    """

    def __init__(self) -> None:
        self.channel = -1
        self._end = _DATA_HEAD
        self._covered = b""

    @property
    def room(self) -> int:
        """The longest packet that there is room for."""
        return len(_SCRATCH) - self._end + _DATA_HEAD

    def place(self, length: int) -> memoryview:
        """Where the next packet is to be opened."""
        begin = self._end - _DATA_HEAD
        self._covered = bytes(_SCRATCH[begin : self._end])
        return _SCRATCH[begin : begin + length]

    def take(self, opened: memoryview, length: int, intakes: Mapping[int, Intake]) -> bool:
        """Whether it is data as it should be, of the channel whose data are here, if there are any yet."""
        if length < _DATA_HEAD or opened[1] != MSG_CHANNEL_DATA:
            return False
        channel, size = _CHANNEL_DATA.unpack_from(opened, 2)
        if _DATA_HEAD + size + opened[0] != length or channel not in intakes:
            return False
        if channel != self.channel:
            if self._end > _DATA_HEAD:
                return False
            self.channel = channel
        opened[:_DATA_HEAD] = self._covered
        self._end += size
        return True

    def give_back(self, opened: memoryview) -> bytes:
        """A packet that is something else."""
        other = bytes(opened)
        begin = self._end - _DATA_HEAD
        _SCRATCH[begin : self._end] = self._covered
        return other

    def begin_with(self, packet: bytes, intakes: Mapping[int, Intake]) -> bool:
        """The same as `take`, with nothing before it: it may be of another channel."""
        opened = self.place(len(packet))
        opened[:] = packet
        return self.take(opened, len(packet), intakes)

    def taken(self) -> memoryview:
        """The data; there are none afterwards."""
        data = _SCRATCH[_DATA_HEAD : self._end]
        self._end = _DATA_HEAD
        return data


class Packets(SSHServerConnection):
    """One connection of a client; sftpd.transport sets its bounds."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - asyncssh's
        super().__init__(*arguments, **options)
        self.intakes: dict[int, Intake] = {}
        self._outbox: list[bytes] = []

    async def reload_config(self) -> None:
        """Nothing depends on who logs in."""

    def data_received(self, data: bytes, datatype: int | None = None) -> None:  # noqa: ARG002 - asyncssh's signature
        """Take what has come in."""
        self._inpbuf = self._inpbuf + data if self._inpbuf else data
        self._recv_data()

    def _recv_pkthdr(self) -> bool:
        """Take as many packets as are there; False: more must come first, or one is being worked on."""
        cipher = self._recv_encryption
        if not isinstance(cipher, Gcm | Etm):
            return super()._recv_pkthdr()
        data, at = self._inpbuf, 0
        view, end = memoryview(data), len(data)
        gathered = Gathered()
        try:
            while at + 4 <= end and self._transport:
                length = int.from_bytes(view[at : at + 4])
                if length > self._max_recv_pktlen:
                    raise ProtocolError("Max packet size exceeded")
                stop = at + 4 + length + cipher.tag
                if stop > end:
                    break
                if length > gathered.room:
                    self._deliver(gathered)
                opened = gathered.place(length)
                cipher.open_into(self._recv_seq, view[at:stop], opened)
                if not gathered.take(opened, length, self.intakes):
                    other = gathered.give_back(opened)
                    self._deliver(gathered)
                    if not gathered.begin_with(other, self.intakes):
                        cipher.opened = other
                        self._inpbuf = data[at:stop]
                        super()._recv_pkthdr()
                        done = self._recv_packet()
                        if not done or self._recv_encryption is not cipher:
                            self._inpbuf = data[stop:]
                            return done
                        at = stop
                        continue
                self._recv_seq = self._recv_seq + 1 & 0xFFFF_FFFF
                at = stop
        finally:
            self._deliver(gathered)
        self._inpbuf = data[at:]
        return False

    def _deliver(self, gathered: "Gathered") -> None:
        """Give what has gathered to its intake, or let asyncssh handle it as one packet."""
        channel = self._channels.get(gathered.channel)
        data = gathered.taken()
        if data and channel is not None and not self.intakes[gathered.channel](data):
            channel.process_packet(MSG_CHANNEL_DATA, self._recv_seq, SSHPacket(len(data).to_bytes(4) + bytes(data)))

    def send_packet(self, pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None) -> None:
        """Send a packet; what belongs to a key exchange, or has to wait for one, goes asyncssh's way."""
        cipher = self._send_encryption
        if (
            cipher is None
            or self._compressor
            or pkttype <= MSG_KEX_LAST
            or not self._kex_complete
            or (not self._auth_complete and (pkttype > MSG_USERAUTH_LAST or pkttype == MSG_USERAUTH_BANNER))
            or self._must_rekey()
            or b"cbc" in self._enc_alg_sc  # asyncssh sends an empty packet before each, which protects this mode
        ):
            super().send_packet(pkttype, *args, handler=handler)
            return
        payload = b"".join(args)
        padding = -(self._send_enchdrlen + 1 + len(payload)) % self._send_blocksize
        if padding < 4:  # noqa: PLR2004 - RFC 4253, 6
            padding += self._send_blocksize
        packet = b"%c%c%b%b" % (padding, pkttype, payload, os.urandom(padding))
        sealed, mac = cipher.encrypt_packet(self._send_seq, len(packet).to_bytes(4), packet)
        self._send(sealed + mac if mac else sealed)
        self._send_seq = self._send_seq + 1 & 0xFFFF_FFFF
        self._rekey_bytes_sent += len(packet)

    def _send(self, data: bytes) -> None:
        if self._transport:
            if not self._outbox:
                self._loop.call_soon(self._send_all, self._transport)
            self._outbox.append(data)

    def _send_all(self, transport: asyncio.Transport) -> None:
        """Send what has gathered; if the connection is just being ended by us, this comes before its end."""
        outbox, self._outbox = self._outbox, []
        with contextlib.suppress(ConnectionError):  # it is told in connection_lost
            transport.write(b"".join(outbox))

    def _must_rekey(self) -> bool:
        if not self._auth_complete:
            return False
        return self._rekey_bytes_sent >= self._rekey_bytes or bool(
            self._rekey_seconds and time.monotonic() >= self._rekey_time
        )


def _log(self: asyncssh.logging.SSHLogger, level: int, msg: object, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
    """Nothing is made into text that nobody will read."""
    if self.isEnabledFor(level):
        _log_at_length(self, level, msg, *args, **kwargs)


def _log_packet(self: SSHPacketLogger, *args: Any) -> None:  # noqa: ANN401
    """The same for packets, which are told on the third level only."""
    if asyncssh.logging.SSHLogger._debug_level >= _PACKETS_LEVEL:  # noqa: SLF001 - it can be set, not asked
        _log_packet_at_length(self, *args)


def _saslprep(text: str) -> str:
    """Prepare a user name (RFC 4013)."""
    return text if text.isascii() and text.isprintable() else saslprep(text)


_PACKETS_LEVEL = 3
_log_at_length = asyncssh.logging.SSHLogger.log
_log_packet_at_length = SSHPacketLogger._log_packet  # noqa: SLF001 - called for each packet


def install() -> None:
    """Let asyncssh use these ciphers, and log less, in this process."""
    for name, (kind, cipher) in list(asyncssh.encryption._enc_params.items()):  # noqa: SLF001 - no other way in
        if kind is GCMEncryption:
            asyncssh.encryption._enc_params[name] = (Gcm, cipher)  # noqa: SLF001
    asyncssh.encryption.ETMEncryption = Etm  # type: ignore[misc]
    asyncssh.logging.SSHLogger.log = _log  # type: ignore[method-assign]
    SSHPacketLogger._log_packet = _log_packet  # type: ignore[assignment, method-assign]  # noqa: SLF001
    asyncssh.connection.saslprep = _saslprep  # type: ignore[attr-defined, assignment]
