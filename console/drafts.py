"""Drafts: files that somebody has chosen in the console and not sent yet. Everything here blocks.

    chosen -> source and columns -> sent: noted with a landing id, then renamed into the inbox
           -> discarded, or expired

Its bytes lie in uploads/, where no door and no sweep lands them. The row has the landing id before the rename that
makes the landing: a draft whose file still lies there has not been sent, whatever its row says. Whoever works on the
file holds its lock, so that of two clicks one sends, and the other one learns what the first has done.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from landingzone import audit, landing_record
from landingzone.clock import iso, now
from landingzone.command import Installation
from landingzone.db import is_disk_full
from landingzone.kept_mapping import KeptMapping
from landingzone.landing import Landing, NameRefused, check_name
from landingzone.refusal import NoRoom, Refused
from landingzone.source import is_temporary
from landingzone.tables import accounts
from landingzone.tables import drafts as table
from landingzone.zone import Draft as DraftFile
from landingzone.zone import lock

KEPT = timedelta(hours=24)
"""How long a draft waits for its sender."""
REMEMBERED = timedelta(days=100)
"""How long it is known what a file of a name was sent as."""
_LEFT_OVER_SECONDS = 3600.0
_LOCK_SECONDS = 20.0
_MOST_NAME = 255
_WHO_LENGTH = 64
_FAILURES = (OSError, sa.exc.SQLAlchemyError, KeyError)

_log = structlog.get_logger("console")


class DraftGone(Refused):
    """This file is not here any more: it was discarded, or waited for longer than a day. Choose it again."""


class InUse(Refused):
    """This file is just being sent from another window. Look again in some seconds."""


class NoRoomForDraft(NoRoom):
    """The server's disk is full. Nothing of this file was kept: choose it again later."""


class NotSent(Refused):
    """The server could not take the file in. Nothing is lost: send it again in some seconds."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that somebody has chosen.

    Attributes:
        file: where its bytes lie.
        name: what the person calls it.
        size: in bytes.
        begun_by: who chose it; began_at when, UTC, ISO 8601.
        source: the declared source that it is for; empty: not known yet.
        school: the school's code, where the source's pattern asks for one.
        with_header: whether its first row holds names, if somebody has said so.
        mapping: the columns that were chosen, as they will be kept; None: as they are kept already.
        landing_id: the landing that it has become; empty: it was not sent.
    """

    file: DraftFile
    name: str
    size: int
    begun_by: str
    began_at: str
    source: str
    school: str
    with_header: bool | None
    mapping: KeptMapping | None
    landing_id: str

    @property
    def id(self) -> str:
        """Its id, in addresses."""
        return self.file.id

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.file.account


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: what the trail calls the person, what the landing's note does, and from where."""

    actor: str
    name: str
    peer: str


class Drafts:
    """The drafts of every account."""

    def __init__(self, here: Installation) -> None:
        self._here = here
        self._zone = here.zone
        self._db = here.db

    def begin(self, account: str, name: str) -> tuple[DraftFile, int]:
        """A new, empty file and its open descriptor, locked. Raises NoRoomForDraft."""
        try:
            file, descriptor = self._zone.begin_draft(account, _storable(name))
        except OSError as error:
            if is_disk_full(error):
                raise NoRoomForDraft from None
            raise
        lock(descriptor)
        return file, descriptor

    def keep(self, file: DraftFile, *, name: str, size: int, begun_by: str, source: str) -> Draft:
        """All bytes are there: from now on it is a draft. Raises NoRoomForDraft."""
        row = {
            "id": file.id,
            "name": _shown(name),
            "stored_name": file.name,
            "bytes": size,
            "begun_by": begun_by,
            "began_at": iso(now()),
            "expires_at": iso(now() + KEPT),
            "source": source,
            "mapping": sa.null(),
        }
        try:
            with self._db.write() as tx:
                account_id = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == file.account)).scalar()
                if account_id is None:
                    raise DraftGone
                tx.execute(table.insert().values(**row, account_id=account_id))
        except sa.exc.SQLAlchemyError as error:
            if is_disk_full(error):
                raise NoRoomForDraft from None
            raise
        return self.get(file.account, file.id)

    def get(self, account: str, draft_id: str) -> Draft:
        """An account's draft, sent ones included. Raises DraftGone."""
        row = self._row(table.c.id == draft_id, accounts.c.name == account)
        draft = self._stands(row) if row is not None else None
        if draft is None and row is not None:  # sent just now, after its row was read
            row = self._row(table.c.id == draft_id)
            draft = self._stands(row) if row is not None else None
        if draft is None:
            raise DraftGone
        return draft

    def of(self, account: str) -> list[Draft]:
        """What an account has chosen and not sent, newest first."""
        with self._db.read() as tx:
            rows = tx.execute(_QUERY.where(accounts.c.name == account).order_by(table.c.id.desc())).all()
        return [draft for row in rows if (draft := self._stands(row)) is not None and not draft.landing_id]

    def sent_as(self, account: str, name: str) -> tuple[str, str] | None:
        """The source, and the school, that the last file of that name was sent as."""
        query = _QUERY.where(accounts.c.name == account, table.c.name == _shown(name), table.c.landing_id.is_not(None))
        with self._db.read() as tx:
            row = tx.execute(query.order_by(table.c.id.desc()).limit(1)).first()
        return (row.source, row.school) if row is not None else None

    def choose(
        self, draft: Draft, *, source: str, school: str, with_header: bool | None, mapping: KeptMapping | None
    ) -> None:
        """Note what somebody has chosen for it so far."""
        values = {
            "source": source,
            "school": school,
            "with_header": with_header,
            "mapping": mapping.as_dict() if mapping else sa.null(),
            "expires_at": iso(now() + KEPT),
        }
        with self._db.write() as tx:
            tx.execute(table.update().where(table.c.id == draft.id).values(values))

    def discard(self, draft: Draft) -> None:
        """Forget it; nothing happens to one that was sent. Raises InUse."""
        if draft.landing_id:
            return
        with self._in_hand(draft) as descriptor:
            if descriptor is not None:
                self._remove(draft.file)
        _log.info("upload.discarded", account=draft.account, upload_id=draft.id)

    def path(self, draft: Draft) -> Path:
        """Where its bytes lie."""
        return self._zone.upload_path(draft.file)

    def send(self, draft: Draft, sender: Sender, *, source: str, name: str, mapping: KeptMapping | None) -> str:
        """Let it land under a name, once, however often this is called; returns the landing's id.

        `mapping` is kept for the source before that, if it is given. When this returns the file is safe. Raises
        DraftGone, InUse, NoRoom, NotSent; after the last two everything is as it was, but for the mapping.
        """
        with self._in_hand(draft) as descriptor:
            if descriptor is None:
                return self._already(draft)
            try:
                if mapping is not None:
                    self._here.sources.keep_mapping(draft.account, source, mapping, actor=sender.actor)
                landing_id = self._land(draft, sender, descriptor, source=source, name=name)
            except _FAILURES as error:
                full = is_disk_full(error)
                reason = "disk_full" if full else "landing_failed"
                _log.exception("upload.refused", account=draft.account, upload_id=draft.id, reason=reason)
                raise (NoRoom(str(NotSent())) if full else NotSent()) from None
        return landing_id

    def sweep(self) -> None:
        """Send what a crash has left half sent, remove what nobody has sent in time or a killed process has left."""
        for account in self._zone.accounts_with("uploads"):
            for file in self._zone.drafts(account):
                self._look_after(file)
        with self._db.write() as tx:
            tx.execute(table.delete().where(table.c.expires_at <= iso(now()), table.c.landing_id.is_not(None)))

    def _land(self, draft: Draft, sender: Sender, descriptor: int, *, source: str, name: str) -> str:
        began, info = time.perf_counter(), os.fstat(descriptor)
        os.fsync(descriptor)
        who = sender.name[:_WHO_LENGTH]
        with audit.changing(self._db) as tx:
            before = tx.execute(sa.select(table.c.landing_id).where(table.c.id == draft.id)).scalar()
            landing = self._begun(tx, draft, before, name=name, who=who) if before else None
            if landing is None:
                landing = landing_record.note_in_order(
                    tx,
                    self._zone.new_landing(draft.account, name),
                    self._zone.new_landing,
                    size=info.st_size,
                    mtime=info.st_mtime,
                    key_fingerprint=who,
                    peer=sender.peer[:_WHO_LENGTH],
                )
                row = table.update().where(table.c.id == draft.id)
                values = {"landing_id": landing.id, "expires_at": iso(now() + REMEMBERED)}
                if not tx.execute(row.values(**values, source=source)).rowcount:
                    raise KeyError(draft.id)  # its account was erased
                detail = {"landing": landing.id, "source": source, "bytes": info.st_size}
                detail |= {"instead_of": before} if before else {}
                audit.record(tx, actor=sender.actor, action="file.sent", account=draft.account, **detail)
        self._zone.land(draft.file, landing, descriptor, synced=True)
        _log.info(
            "file.landed",
            account=draft.account,
            peer=sender.peer,
            upload_id=draft.id,
            landing_id=landing.id,
            source=source,
            bytes=info.st_size,
            resumed=False,
            milliseconds=round((time.perf_counter() - began) * 1000, 1),
        )
        return landing.id

    @staticmethod
    def _begun(tx: sa.Connection, draft: Draft, before: str, *, name: str, who: str) -> Landing | None:
        """The landing that was noted by an attempt which came to nothing, if this one makes the same of it.

        None also if another file has landed since: ids tell the order of landing.
        """
        noted, landing = landing_record.find(tx, before), Landing(before, draft.account, name)
        if noted is None or (noted.name, noted.key_fingerprint) != (name, who):
            return None
        return landing if landing_record.is_newest(tx, landing) else None

    def _already(self, draft: Draft) -> str:
        """The landing that somebody else has made of it. Raises DraftGone."""
        landing_id = self.get(draft.account, draft.id).landing_id
        if not landing_id:
            raise DraftGone
        return landing_id

    @contextmanager
    def _in_hand(self, draft: Draft) -> Iterator[int | None]:
        """Its open, locked descriptor; None if it was sent or removed meanwhile. Raises InUse."""
        try:
            descriptor = self._zone.reopen_upload(draft.file)
        except FileNotFoundError:
            yield None
            return
        try:
            until = time.monotonic() + _LOCK_SECONDS
            while not lock(descriptor):
                if time.monotonic() > until:
                    raise InUse
                time.sleep(0.02)
            yield descriptor if self._is_still_there(draft.file, descriptor) else None
        finally:
            os.close(descriptor)

    def _is_still_there(self, file: DraftFile, descriptor: int) -> bool:
        try:
            return os.path.samestat(self._zone.upload_path(file).lstat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _look_after(self, file: DraftFile) -> None:
        row = self._row(table.c.id == file.id)
        half_sent = row is not None and row.landing_id is not None
        if row is not None and row.expires_at > iso(now()) and not half_sent:
            return
        try:
            descriptor = self._zone.reopen_upload(file)
        except FileNotFoundError:
            return
        try:
            old = time.time() - os.fstat(descriptor).st_mtime > _LEFT_OVER_SECONDS
            if not (row is not None or old) or not lock(descriptor) or not self._is_still_there(file, descriptor):
                return
            if row is not None and half_sent:
                self._send_after_all(row, descriptor)
            else:
                self._remove(file)
                _log.info("upload.expired", account=file.account, upload_id=file.id, bytes=os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def _send_after_all(self, row: sa.Row[Any], descriptor: int) -> None:
        """Its sender has confirmed it, and the process that was to take it in has died before it could."""
        draft = self._stands(row)
        with self._db.read() as tx:
            noted = landing_record.find(tx, row.landing_id)
        if draft is None or noted is None:
            return
        who = noted.key_fingerprint
        sender = Sender(f"{who.removeprefix('user ')} (console)", who, noted.peer)
        with suppress(KeyError):  # its account has just been erased
            self._land(draft, sender, descriptor, source=draft.source, name=noted.name)

    def _remove(self, file: DraftFile) -> None:
        self._zone.discard_upload(file)
        with self._db.write() as tx:
            tx.execute(table.delete().where(table.c.id == file.id))

    def _row(self, *where: sa.ColumnElement[bool]) -> sa.Row[Any] | None:
        with self._db.read() as tx:
            return tx.execute(_QUERY.where(*where)).first()

    def _stands(self, row: sa.Row[Any]) -> Draft | None:
        """What a row and its file say together; None: the file is gone, and the row does not know of a landing."""
        fields = {name: row._mapping[name] for name in _SHOWN}  # noqa: SLF001 - SQLAlchemy's public name for it
        draft = Draft(
            DraftFile(row.id, row.account, row.stored_name),
            size=row.bytes,
            mapping=KeptMapping.from_dict(row.mapping),
            landing_id=row.landing_id or "",
            **fields,
        )
        if self._zone.upload_path(draft.file).exists():
            return replace(draft, landing_id="")
        return draft if draft.landing_id else None


def _storable(name: str) -> str:
    """A name under which the bytes may lie: the person's, if it can be one."""
    try:
        return "file" if is_temporary(name) else check_name(name)
    except NameRefused:
        return "file"


def _shown(name: str) -> str:
    """What a person calls a file, as it may be kept and shown."""
    return "".join(char if char.isprintable() else " " for char in name)[:_MOST_NAME].strip() or "file"


_SHOWN = ("name", "begun_by", "began_at", "source", "school", "with_header")
_QUERY = (
    sa.select(table, accounts.c.name.label("account"))
    .select_from(table)
    .join(accounts, accounts.c.id == table.c.account_id)
)
