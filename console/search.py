"""Search: an account by its name, a file by its name, its SHA-256 or its landing id, a key by its fingerprint."""

import re
from dataclasses import dataclass

import sqlalchemy as sa

from landingzone.tables import accounts, keys, landings, runs

MOST = 50
_HEX = re.compile(r"[0-9a-f]{6,64}")
_LANDING = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{0,4}){0,3}(-[0-9a-f]{0,12})?(:[0-9]{1,6})?")
_FINGERPRINT = "SHA256:"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file; `run` is empty while it waits for its first one."""

    account: str
    name: str
    landing_id: str
    run: str
    outcome: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key."""

    account: str
    id: int
    label: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, at most MOST of each kind, the newest files first."""

    accounts: tuple[tuple[str, str], ...] = ()
    files: tuple[FoundFile, ...] = ()
    keys: tuple[FoundKey, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.accounts or self.files or self.keys)


def search(tx: sa.Connection, text: str) -> Found:
    """What a text may mean; nothing for an empty one."""
    text = text.strip()
    if not text:
        return Found()
    if text.upper().startswith(_FINGERPRINT):
        return Found(keys=_keys(tx, _FINGERPRINT + text[len(_FINGERPRINT) :]))
    lowered = text.lower()
    if _LANDING.fullmatch(lowered) and "-" in lowered:
        return Found(files=_files(tx, landings.c.id.startswith(lowered.partition(":")[0], autoescape=True)))
    if _HEX.fullmatch(lowered) and (files := _of_hash(tx, lowered)):
        return Found(files=files)
    return Found(_accounts(tx, lowered), _files(tx, _contains(landings.c.name, lowered)), _keys_of_label(tx, lowered))


def _accounts(tx: sa.Connection, text: str) -> tuple[tuple[str, str], ...]:
    either = sa.or_(_contains(accounts.c.name, text), _contains(accounts.c.title, text))
    query = sa.select(accounts.c.name, accounts.c.title).where(either).order_by(accounts.c.name).limit(MOST)
    return tuple((name, title) for name, title in tx.execute(query))


def _files(tx: sa.Connection, where: sa.ColumnElement[bool]) -> tuple[FoundFile, ...]:
    newest = landings.select().where(where).order_by(landings.c.id.desc()).limit(MOST).subquery()
    query = (
        sa.select(accounts.c.name, newest.c.name, newest.c.id, runs.c.id, runs.c.outcome, runs.c.sha256)
        .select_from(
            newest.join(accounts, accounts.c.id == newest.c.account_id).outerjoin(
                runs, runs.c.landing_id == newest.c.id
            )
        )
        .order_by(newest.c.id.desc(), runs.c.attempt.desc())
    )
    found: dict[str, FoundFile] = {}
    for account, name, landing_id, run, outcome, sha256 in tx.execute(query):
        found.setdefault(landing_id, FoundFile(account, name, landing_id, run or "", outcome or "", sha256 or ""))
    return tuple(found.values())


def _of_hash(tx: sa.Connection, beginning: str) -> tuple[FoundFile, ...]:
    """By an index: a range of hashes, from the beginning on up to the next one."""
    within = sa.and_(runs.c.sha256 >= beginning, runs.c.sha256 < beginning + "g")
    of_it = sa.select(runs.c.landing_id).where(within).order_by(runs.c.landing_id.desc()).limit(MOST)
    return _files(tx, landings.c.id.in_(of_it))


def _keys(tx: sa.Connection, fingerprint: str) -> tuple[FoundKey, ...]:
    return _found_keys(tx, keys.c.fingerprint.startswith(fingerprint, autoescape=True))


def _keys_of_label(tx: sa.Connection, text: str) -> tuple[FoundKey, ...]:
    return _found_keys(tx, _contains(keys.c.label, text))


def _found_keys(tx: sa.Connection, where: sa.ColumnElement[bool]) -> tuple[FoundKey, ...]:
    columns = (accounts.c.name, keys.c.id, keys.c.label, keys.c.fingerprint)
    query = sa.select(*columns).join(accounts, accounts.c.id == keys.c.account_id).where(where)
    return tuple(FoundKey(*row) for row in tx.execute(query.order_by(accounts.c.name, keys.c.id).limit(MOST)))


def _contains(column: sa.Column[str], text: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(column).contains(text, autoescape=True)
