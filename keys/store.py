"""The keys in the database: which key opens which account, from where, until when. Every change leaves an audit record.

The same key may open several accounts (one vendor often serves several districts): the account is the SSH user name, so
nothing is mixed up. But who loses it loses all of them, so adding it says where else it is in use.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from keys import admission, authority, rotation
from keys.admission import Admission, CertifiedKey, Opened
from keys.authority import Presented
from keys.authorized_keys import AuthorizedKey, RefusedLine
from keys.certificate import Certificate
from keys.key import Key, KeyStoreError, Refusal, parse_networks
from keys.key_rows import account_id, pick, select
from keys.public_key import PublicKey
from keys.rotation import Rotation
from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.tables import accounts
from landingzone.tables import keys as table

__all__ = ["Admission", "CertifiedKey", "Key", "KeyStoreError", "Keys", "Opened", "Refusal"]

#: How old the note of a key's last use may become before a login renews it: a login should rarely have to write.
_USE_NOTED_FOR = timedelta(minutes=1)
_LONGEST_REASON = 255


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file of keys: numbers of those added, of those that were there, and the lines refused."""

    added: tuple[int, ...]
    there: tuple[int, ...]
    refused: tuple[RefusedLine, ...]


class Keys:
    """The keys of every account."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # For the operator

    def add(
        self,
        account: str,
        key: PublicKey,
        *,
        label: str = "",
        expires_at: datetime | None = None,
        networks: tuple[str, ...] = (),
        again: bool = False,
        actor: str,
    ) -> Key:
        """Let a key open an account.

        Raises KeyStoreError if it does so already, if it was revoked there (unless `again`), or if its end lies
        behind us; AccountError if there is no such account.
        """
        wanted = parse_networks(networks)
        with audit.changing(self._db) as tx:
            key_id = self._add(
                tx, account, key, label=label, expires_at=expires_at, networks=wanted, again=again, actor=actor
            )
        return self.get(account, str(key_id))

    def add_all(
        self, account: str, lines: Iterable[AuthorizedKey], *, all_or_none: bool = True, actor: str
    ) -> Imported:
        """Let the keys of an authorized_keys file open an account, in one transaction.

        A key that opens it already with the same limits is left as it is. What cannot be added is told by its line;
        with `all_or_none` nothing is added then.
        """
        added, there, refused = [], [], []
        with audit.changing(self._db) as tx:
            number = account_id(tx, account)
            for one in lines:
                same = (table.c.account_id == number, table.c.fingerprint == one.key.fingerprint)
                known = next((key for key in select(tx, *same) if key.revoked_at is None), None)
                ends = iso(one.expires_at) if one.expires_at else None
                if known is not None and (known.networks, known.expires_at) == (one.networks, ends):
                    there.append(known.id)
                    continue
                try:
                    added.append(self._add_line(tx, account, one, actor=actor))
                except KeyStoreError as wrong:
                    refused.append(RefusedLine(one.line, str(wrong)))
            if refused and all_or_none:
                tx.rollback()
                return Imported((), (), tuple(refused))
        return Imported(tuple(added), tuple(there), tuple(refused))

    def rotate(
        self,
        account: str,
        key: PublicKey,
        *,
        overlap: timedelta,
        uses: int = 3,
        replaces: tuple[str, ...] = (),
        label: str = "",
        expires_at: datetime | None = None,
        networks: tuple[str, ...] = (),
        actor: str,
    ) -> Rotation:
        """Add a key that takes the place of old ones: those open until it was used so often, or the overlap is over.

        They open for `overlap` at most, and until the new one has logged in `uses` times. `replaces` names them by
        number or fingerprint; without it the only one that there is goes.

        Raises KeyStoreError as `add` does; if there is no old key; or if there are several and none is named.
        """
        at = now()
        if expires_at is not None and expires_at <= at + overlap:
            raise KeyStoreError(
                "The new key would expire before the overlap ends: give it more time, or none to expire."
            )
        wanted = parse_networks(networks)
        with audit.changing(self._db) as tx:
            rotation.settle(tx, at=at)
            number = account_id(tx, account)
            opening = [one for one in select(tx, table.c.account_id == number) if one.closed(at) is None]
            free = [one for one in opening if one.old_in_rotation is None]
            if replaces:
                old = list({one.id: one for one in (pick(tx, account, which) for which in replaces)}.values())
                for one in old:
                    if one not in free:
                        why = "is being replaced already" if one in opening else "does not open it any more"
                        raise KeyStoreError(f"Key {one.id} of {account} {why}.")
            elif len(free) == 1:
                old = free
            elif not free:
                raise KeyStoreError(
                    f"No key opens {account} that could be replaced: landingzone keys add {account} FILE."
                )
            else:
                told = ", ".join(f"{one.id} ({one.label})" if one.label else str(one.id) for one in free)
                raise KeyStoreError(
                    f"{account} has several keys: name those that go with --replaces. There are {told}."
                )
            key_id = self._add(tx, account, key, label=label, expires_at=expires_at, networks=wanted, actor=actor)
            ids, ends_at = [one.id for one in old], at + overlap
            number = rotation.begin(tx, number, new=key_id, old=ids, ends_at=ends_at, uses=uses, actor=actor, at=at)
            audit.record(
                tx,
                actor=actor,
                action="key.rotation_started",
                account=account,
                rotation=number,
                key=key_id,
                replaces=ids,
                overlap_ends_at=iso(ends_at),
                uses_wanted=uses,
            )
            return next(one for one in rotation.rotations(tx, account=account) if one.id == number)

    def rotations(self, account: str | None = None) -> list[Rotation]:
        """Where each rotation stands, the newest first; of one account if named. Writes down what ended by itself."""
        self.settle()
        with self._db.read() as tx:
            if account is not None:
                account_id(tx, account)
            return rotation.rotations(tx, account=account)

    def settle(self) -> int:
        """Write down which keys were retired because their overlap is over; returns how many rotations that were.

        Cheap when there is nothing to do. The door does it now and then; the rule itself holds without.
        """
        with self._db.read() as tx:
            if not rotation.overdue(tx, at=now()):
                return 0
        with audit.changing(self._db) as tx:
            return rotation.settle(tx, at=now())

    @classmethod
    def _add_line(cls, tx: sa.Connection, account: str, one: AuthorizedKey, *, actor: str) -> int:
        return cls._add(tx, account, one.key, label="", expires_at=one.expires_at, networks=one.networks, actor=actor)

    @staticmethod
    def _add(
        tx: sa.Connection,
        account: str,
        key: PublicKey,
        *,
        label: str,
        expires_at: datetime | None,
        networks: tuple[str, ...],
        again: bool = False,
        actor: str,
    ) -> int:
        number = account_id(tx, account)
        if expires_at is not None and expires_at <= now():
            raise KeyStoreError("This expiry lies in the past.")
        for known in select(tx, table.c.account_id == number, table.c.fingerprint == key.fingerprint):
            if known.revoked_at is None:
                raise KeyStoreError(f"{key.fingerprint} opens {account} already (key {known.id}).")
            if not again:
                raise KeyStoreError(
                    f"{key.fingerprint} was revoked for {account} on {known.revoked_at} by {known.revoked_by}. "
                    "Ask for a new pair, or add it with --again if it was revoked by mistake."
                )
        row = table.insert().values(
            account_id=number,
            fingerprint=key.fingerprint,
            algorithm=key.algorithm,
            bits=key.bits,
            public_key=key.line,
            label=label or key.comment,
            networks=" ".join(networks),
            expires_at=iso(expires_at) if expires_at else None,
            added_at=iso(now()),
            added_by=actor,
        )
        key_id = tx.execute(row.returning(table.c.id)).scalar_one()
        audit.record(
            tx,
            actor=actor,
            action="key.added",
            account=account,
            key=key_id,
            fingerprint=key.fingerprint,
            algorithm=key.algorithm,
            networks=list(networks),
            expires_at=iso(expires_at) if expires_at else None,
        )
        return int(key_id)

    def of(self, account: str | None = None) -> list[Key]:
        """Every key, revoked ones too, in order of account and age; of one account if named."""
        with self._db.read() as tx:
            if account is None:
                return select(tx)
            return select(tx, table.c.account_id == account_id(tx, account))

    def get(self, account: str, which: str) -> Key:
        """The key of an account by number or SHA-256 fingerprint; raises KeyStoreError if it has none such."""
        with self._db.read() as tx:
            return pick(tx, account, which)

    def others_with(self, key: Key) -> list[str]:
        """The names of the other accounts that the same key opens."""
        same = (table.c.fingerprint == key.fingerprint, table.c.revoked_at.is_(None), accounts.c.name != key.account)
        with self._db.read() as tx:
            return [other.account for other in select(tx, *same)]

    def revoke(self, account: str, which: str, *, reason: str = "", actor: str) -> Key:
        """Close the door for a key of an account, by number or fingerprint; raises KeyStoreError if it is closed."""
        if len(reason) > _LONGEST_REASON:
            raise KeyStoreError(f"The reason may have {_LONGEST_REASON} characters.")
        with audit.changing(self._db) as tx:
            key = pick(tx, account, which)
            if key.revoked_at is not None:
                raise KeyStoreError(f"Key {key.id} was revoked on {key.revoked_at} by {key.revoked_by}.")
            at = now()
            closed = {"revoked_at": iso(at), "revoked_by": actor, "revoked_reason": reason}
            tx.execute(table.update().where(table.c.id == key.id).values(closed))
            rotation.end_without(tx, key.id, at=at)
            audit.record(
                tx,
                actor=actor,
                action="key.revoked",
                account=account,
                key=key.id,
                fingerprint=key.fingerprint,
                reason=reason,
            )
        return self.get(account, str(key.id))

    # For the door

    def admit(self, account: str, fingerprint: str, *, address: str) -> Admission:
        """Whether a key, offered from an address, opens an account now."""
        with self._db.read() as tx:
            return admission.admit(tx, account, fingerprint, address=address, at=now())

    def admit_certificate(self, account: str, certificate: Certificate, *, address: str) -> Admission:
        """Whether a certificate, offered from an address, opens an account now.

        Its authority's signature is not looked at here: prove it before, or after.
        """
        with self._db.read() as tx:
            return admission.admit_certificate(tx, account, certificate, address=address, at=now())

    def no_longer_open(self, sessions: Iterable[Opened]) -> dict[Opened, Refusal]:
        """Those of the live sessions that would be refused now, and why: to be ended at once.

        A few queries that only read, whatever the number of sessions: to be asked every second. Every process that
        shares the database gets the same answer; who revoked what and why stands in the audit trail.
        """
        asked = set(sessions)
        if not asked:
            return {}
        with self._db.read() as tx:
            return admission.no_longer_open(tx, asked, at=now())

    def note_use(self, key: Key | CertifiedKey, *, address: str, client: str) -> None:
        """Note that a key opened its account, unless that was noted within the last minute from the same place.

        The new key of a rotation that is under way is counted each time. Of a certificate its authority is noted.
        """
        if isinstance(key, CertifiedKey):
            with self._db.write() as tx:
                authority.note_use(tx, Presented(key.account, key.certificate, address), client=client, at=now())
            return
        at = now()
        recent = key.last_used_at is not None and key.last_used_at > iso(at - _USE_NOTED_FOR)
        same_place = (key.last_used_from, key.last_used_client) == (address, client[:255])
        if recent and same_place and key.new_in_rotation is None:
            return
        used = {"last_used_at": iso(at), "last_used_from": address[:64], "last_used_client": client[:255]}
        counted = key.new_in_rotation is not None  # its last use shuts the old keys
        with audit.changing(self._db) if counted else self._db.write() as tx:
            tx.execute(table.update().where(table.c.id == key.id).values(used))
            if key.new_in_rotation is not None:
                rotation.count_use(tx, key.new_in_rotation, at=at)
