"""Uploads over HTTPS where they lie: begun, gone on with, landed exactly once, expired. Everything here blocks.

    begun -> bytes -> all of them are there -> noted, with a landing id -> renamed into the inbox
                   -> cut -> gone on with
                          -> expired

How many bytes have come, the file's size says; how many there are to be, a row of `web_uploads`. The row has the
landing id before the rename that makes the landing. So an upload whose file still lies in uploads/ has not landed,
whatever its row says; one whose file is gone has, under the id that its row names. Whoever works on it holds its lock.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from landingzone import landing_record
from landingzone.clock import iso, now
from landingzone.db import Database, is_disk_full
from landingzone.refusal import NoRoom, Refused
from landingzone.source import Source, is_temporary
from landingzone.tables import accounts
from landingzone.tables import web_uploads as table
from landingzone.zone import WebUpload, Zone, lock

FORGOTTEN_SECONDS = 3600.0
"""A file without a row is left over from a process that was killed as it began; after so long it goes."""
_WHO_LENGTH = 64
_FAILURES = (OSError, sa.exc.SQLAlchemyError, KeyError)

_log = structlog.get_logger("console")


class TemporaryName(Refused):
    """This is a name under which programs keep what is not whole yet. Send the file under its own name."""


class Gone(Refused):
    """There is no such upload; it may have expired. Send the whole file again."""


class InUse(Refused):
    """Another request goes on with this upload. Ask again in some seconds."""


class NotLanded(Refused):
    """All bytes are here, but the server could not take the file in. Nothing is lost: ask again in some seconds."""


class Landed(Refused):
    """This file has landed already. Its receipt will be among the receipts."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends.

    Attributes:
        account: the account's name.
        name: what the trail calls it: `token 3`, `user ann@example.org`.
        peer: the client's address.
    """

    account: str
    name: str
    peer: str = ""

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that says who."""
        bound: structlog.typing.FilteringBoundLogger = _log.bind(account=self.account, peer=self.peer)
        return bound


@dataclass(frozen=True, slots=True)
class Sending:
    """An upload as it stands.

    Attributes:
        file: the upload's file.
        length: how many bytes it is to have.
        size: how many have come.
        sender: who began it.
        metadata: what the client has said of it, word for word.
        resumed: it was continued after a cut.
        expires_at: when it is forgotten, UTC.
        landing_id: the landing that it has become; empty: it has not landed.
    """

    file: WebUpload
    length: int
    size: int
    sender: Sender
    metadata: str
    resumed: bool
    expires_at: datetime
    landing_id: str

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        """A logger that says whose and which."""
        return self.sender.log.bind(upload_id=self.file.id)


class WebUploads:
    """The uploads over HTTPS of every account.

    Args:
        zone: where they lie.
        db: the database; what is told to a client must have reached the disk.
        sources_of: what is expected of an account.
        resume_hours: how long an upload is kept to which nothing is added.
    """

    def __init__(
        self, zone: Zone, db: Database, sources_of: Callable[[str], tuple[Source, ...]], resume_hours: float
    ) -> None:
        self._zone = zone
        self._db = db
        self._sources_of = sources_of
        self._kept_for = timedelta(hours=resume_hours)

    def begin(self, sender: Sender, name: str, length: int, *, metadata: str = "") -> Sending:
        """A new, empty upload. Raises NameRefused, TemporaryName, NoRoom, Gone (of its account)."""
        if is_temporary(name):
            raise TemporaryName
        try:
            file, descriptor = self._zone.begin_web_upload(sender.account, name)
        except OSError as error:
            if is_disk_full(error):
                raise NoRoom from None
            raise
        os.close(descriptor)
        expires_at = now() + self._kept_for
        try:
            with self._db.write() as tx:
                row = {
                    "id": file.id,
                    "account_id": _account_id(tx, sender.account),
                    "name": file.name,
                    "length": length,
                    "sent_by": sender.name,
                    "peer": sender.peer[:_WHO_LENGTH],
                    "metadata": metadata,
                    "began_at": iso(now()),
                    "expires_at": iso(expires_at),
                }
                tx.execute(table.insert().values(row))
        except BaseException as error:
            self._zone.discard_upload(file)
            if is_disk_full(error):
                raise NoRoom from None
            raise
        return Sending(file, length, 0, sender, metadata, False, expires_at, "")

    def find(self, account: str, upload_id: str) -> Sending:
        """An account's upload; raises Gone if there is none, or it has expired."""
        row = self._row(table.c.id == upload_id, accounts.c.name == account)
        if row is None:
            raise Gone
        sending = self._stands(row)
        if sending is None:  # it has landed just now, after its row was read
            row = self._row(table.c.id == upload_id)
            sending = self._stands(row) if row is not None else None
        if sending is None or sending.expires_at <= now():
            raise Gone
        return sending

    @contextmanager
    def in_hand(self, sending: Sending) -> Iterator[tuple[Sending, int]]:
        """The upload as it stands now, and its open descriptor, which is locked. Raises Gone, Landed, InUse."""
        try:
            descriptor = self._zone.reopen_upload(sending.file)
        except FileNotFoundError:
            raise self._why_gone(sending) from None
        try:
            if not lock(descriptor):
                raise InUse
            if not self._is_still_there(sending, descriptor):
                raise self._why_gone(sending)
            yield replace(sending, size=os.fstat(descriptor).st_size), descriptor
        finally:
            os.close(descriptor)

    def land(self, sending: Sending, descriptor: int) -> Sending:
        """Make a whole upload a landing. When this returns the file is safe. Raises NotLanded, NoRoom.

        After those everything is as it was, and it can be tried again.
        """
        began, info = time.perf_counter(), os.fstat(descriptor)
        try:
            os.fsync(descriptor)
            landing = self._zone.new_landing(sending.file.account, sending.file.name)
            who = {"key_fingerprint": sending.sender.name[:_WHO_LENGTH], "peer": sending.sender.peer[:_WHO_LENGTH]}
            expires_at = now() + self._kept_for
            with self._db.write() as tx:
                landing = landing_record.note_in_order(
                    tx,
                    landing,
                    self._zone.new_landing,
                    size=info.st_size,
                    mtime=info.st_mtime,
                    resumed=sending.resumed,
                    **who,
                )
                row = table.update().where(table.c.id == sending.file.id)
                if not tx.execute(row.values(landing_id=landing.id, expires_at=iso(expires_at))).rowcount:
                    raise KeyError(sending.file.id)  # its account was erased
            self._zone.land(sending.file, landing, descriptor, synced=True)
        except _FAILURES as error:
            full = is_disk_full(error)
            sending.log.exception("upload.refused", reason="disk_full" if full else "landing_failed")
            raise (NoRoom(str(NotLanded())) if full else NotLanded()) from None
        sending.log.info(
            "file.landed",
            landing_id=landing.id,
            source=self._source(sending),
            bytes=info.st_size,
            resumed=sending.resumed,
            milliseconds=round((time.perf_counter() - began) * 1000, 1),
        )
        return replace(sending, landing_id=landing.id, expires_at=expires_at)

    def note_resumed(self, sending: Sending) -> Sending:
        """Note that it goes on after a cut."""
        if not sending.resumed:
            with self._db.write() as tx:
                tx.execute(table.update().where(table.c.id == sending.file.id).values(resumed=True))
        return replace(sending, resumed=True)

    def discard(self, sending: Sending, descriptor: int) -> None:
        """Forget an upload that is in hand, and give its room free, also if the database cannot be told."""
        os.ftruncate(descriptor, 0)
        with self._db.write() as tx:  # first: a row without a file could be taken for a landing
            tx.execute(table.delete().where(table.c.id == sending.file.id))
        self._zone.discard_upload(sending.file)

    def sweep(self) -> None:
        """What a crash has left whole lands, what has expired goes."""
        for account in self._zone.accounts_with("uploads"):
            for file in self._zone.web_uploads(account):
                try:
                    self._look_after(file)
                except Refused:  # in use, or it could not be landed: the next sweep looks again
                    continue
        with self._db.read() as tx:
            old = [one.id for one in tx.execute(_QUERY.where(table.c.expires_at <= iso(now())))]
        for upload_id in old:
            row = self._row(table.c.id == upload_id)
            sending = self._stands(row) if row is not None else None
            if sending is not None and sending.expires_at > now():  # bytes have come since
                change: sa.Update | sa.Delete = table.update().values(expires_at=iso(sending.expires_at))
            else:
                change = table.delete()
            with self._db.write() as tx:
                tx.execute(change.where(table.c.id == upload_id))

    def _look_after(self, file: WebUpload) -> None:
        row = self._row(table.c.id == file.id)
        sending = self._stands(row) if row is not None else None
        if sending is None:
            self._remove_left_over(file)
            return
        with self.in_hand(sending) as (now_standing, descriptor):
            if now_standing.size == now_standing.length:
                self.land(now_standing, descriptor)
            elif now_standing.expires_at <= now():
                self.discard(now_standing, descriptor)
                now_standing.log.warning("upload.expired", bytes=now_standing.size)

    def _remove_left_over(self, file: WebUpload) -> None:
        try:
            old = time.time() - self._zone.upload_path(file).lstat().st_mtime > FORGOTTEN_SECONDS
        except FileNotFoundError:
            return
        if old:
            self._zone.discard_upload(file)
            _log.warning("upload.discarded", account=file.account, upload_id=file.id, reason="no_row")

    def _row(self, *where: sa.ColumnElement[bool]) -> sa.Row[Any] | None:
        with self._db.read() as tx:
            return tx.execute(_QUERY.where(*where)).first()

    def _stands(self, row: sa.Row[Any]) -> Sending | None:
        """What a row and its file say together; None: the file is gone, and the row does not know of a landing."""
        file = WebUpload(row.id, row.account, row.name)
        expires_at = datetime.fromisoformat(row.expires_at)
        try:
            info = self._zone.upload_path(file).lstat()
        except FileNotFoundError:
            if not row.landing_id:
                return None
            size, landing_id = row.length, row.landing_id
        else:
            size, landing_id = info.st_size, ""
            expires_at = datetime.fromtimestamp(info.st_mtime, UTC) + self._kept_for
        sender = Sender(row.account, row.sent_by, row.peer)
        return Sending(file, row.length, size, sender, row.metadata, row.resumed, expires_at, landing_id)

    def _is_still_there(self, sending: Sending, descriptor: int) -> bool:
        """Whether an open file is the upload still: who had it in hand before may have landed or discarded it."""
        try:
            named = self._zone.upload_path(sending.file).lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(descriptor))

    def _why_gone(self, sending: Sending) -> Refused:
        try:
            return Landed() if self.find(sending.file.account, sending.file.id).landing_id else InUse()
        except Gone as gone:
            return gone

    def _source(self, sending: Sending) -> str | None:
        """The source that it belongs to, for the log; None: nobody expects it."""
        try:
            sources = self._sources_of(sending.file.account)
        except sa.exc.SQLAlchemyError:
            return None
        return next((source.name for source in sources if source.matches(sending.file.name)), None)


def _account_id(tx: sa.Connection, name: str) -> int:
    number = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == name)).scalar()
    if number is None:
        raise Gone("There is no such account any more.")
    return int(number)


_COLUMNS = ("id", "name", "length", "sent_by", "peer", "metadata", "resumed", "expires_at", "landing_id")
_QUERY = (
    sa.select(accounts.c.name.label("account"), *(table.c[name] for name in _COLUMNS))
    .select_from(table)
    .join(accounts, accounts.c.id == table.c.account_id)
)
