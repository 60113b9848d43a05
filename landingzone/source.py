"""Sources: the files that an account sends, each a name or pattern that holds one feed.

By default an account has one source per feed, named after it (students.csv, ...; case ignored). Declaring one for a
feed replaces that feed's default. A pattern with `{school}` makes a source of each school, so that one school's file
never deactivates another's.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from landingzone import audit
from landingzone.clock import iso, now
from landingzone.db import Database, insert_into
from landingzone.due import canonical
from landingzone.errors import LandingZoneError
from landingzone.feed import Catalogue, Feed, Mode
from landingzone.kept_mapping import KeptMapping
from landingzone.landing import NameRefused, check_name
from landingzone.pattern import Pattern, check_pattern, is_temporary, overlap
from landingzone.tables import accounts, sources

__all__ = ["KeptMapping", "Source", "SourceError", "Sources", "is_temporary", "source_of"]


class SourceError(LandingZoneError):
    """The source is not as the command needs it."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file that an account sends.

    Attributes:
        name: unique within the account; names `latest-<source>.receipt.json`.
        pattern: the expected file name; `{date}` stands for any date, `{school}` for a school's code.
        feed: the name of the feed it holds.
        mode: what the file says about rows that it does not list (full, delta, events).
        priority: of several sources of one record the lowest number is asked first.
        due: by when it is to come, as landingzone.due reads it, in the account's time zone; empty: as the settings say.
        mapping: the account's own mapping of its columns, if one is kept.
        part_of: name of the declared source whose pattern has made this one; None for a declared or default source.
        empty_means: what a file without rows says: `held` (nobody knows), or `nothing` (no rows is good news).
    """

    name: str
    pattern: str
    feed: str
    mode: str
    priority: int = 100
    due: str = ""
    mapping: KeptMapping | None = None
    part_of: str | None = None
    empty_means: str = "held"

    def matches(self, file_name: str) -> bool:
        """Whether a file of that name belongs to this source; case is ignored, and so is how it is packed.

        >>> students = Source("students", "students.csv", "students", "full")
        >>> [students.matches(name) for name in ("Students.CSV", "students.csv.gz", "students.xlsx", "students2.csv")]
        [True, True, True, False]
        """
        return Pattern(self.pattern).match(file_name) is not None

    def of_file(self, file_name: str) -> "Source | None":
        """The source that a matching file belongs to: this one, or that of the file's school; None: no match."""
        found = Pattern(self.pattern).match(file_name)
        if found is None or not Pattern(self.pattern).is_per_school:
            return self if found is not None else None
        return replace(self, name=found, part_of=self.name)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of an account.

    Attributes:
        declared: its sources as declared or by default, in the catalogue's order.
        sources: those that files come for: in place of a `{school}` pattern the sources that it has made.
        names: every source that has a number in the database, retired ones too.
    """

    declared: tuple[Source, ...]
    sources: tuple[Source, ...]
    names: Mapping[int, str]

    def source_of(self, file_name: str) -> str | None:
        """The name of the source that a file of that name belongs to, or None: nobody expects it."""
        found = source_of(self.declared, file_name)
        return found.name if found is not None else None


def source_of(declared: Iterable[Source], file_name: str) -> Source | None:
    """Of the sources that an account declares the one that a file of that name belongs to; None: nobody expects it."""
    return next((found for one in declared if (found := one.of_file(file_name))), None)


class Sources:
    """The sources of every account: those declared, and one by default for each feed that has none."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._db = db
        self._catalogue = catalogue

    def of(self, account: str, tx: sa.Connection | None = None) -> tuple[Source, ...]:
        """What is expected of an account, in the catalogue's order; for a `{school}` pattern the pattern itself."""
        if tx is not None:
            return self._of(tx, account)
        with self._db.read() as own:
            return self._of(own, account)

    def schools_of(self, account: str, declared: str) -> tuple[Source, ...]:
        """The sources that a `{school}` pattern has made so far."""
        query = _QUERY.where(accounts.c.name == account, sources.c.part_of == declared)
        with self._db.read() as tx:
            return tuple(_source(row) for row in tx.execute(query) if row.retired_at is None)

    def expected_of(self, tx: sa.Connection, account_ids: Collection[int]) -> dict[int, Expected]:
        """What is expected of some accounts, by their numbers."""
        query = _EXPECTED.where(sources.c.account_id.in_(account_ids))
        rows: dict[int, list[Any]] = defaultdict(list)
        for row in tx.execute(query):
            rows[row.account_id].append(row)
        return {account_id: self._expected(rows[account_id]) for account_id in account_ids}

    def _expected(self, rows: list[Any]) -> Expected:
        own = [_source(row) for row in rows if row.part_of is None and row.retired_at is None]
        retired = {row.feed for row in rows if row.part_of is None and row.retired_at is not None}
        declared = tuple(self._with_defaults(own, retired))
        schools: dict[str, list[Source]] = defaultdict(list)
        for row in rows:
            if row.part_of is not None and row.retired_at is None:
                schools[row.part_of].append(_source(row))
        each = ((schools.get(one.name) if Pattern(one.pattern).is_per_school else None) or [one] for one in declared)
        return Expected(declared, tuple(one for group in each for one in group), {row.id: row.name for row in rows})

    def match(self, account: str, file_name: str) -> Source | None:
        """The source that a file of that name belongs to, or None: nobody expects it."""
        return source_of(self.of(account), file_name)

    def get(self, account: str, name: str) -> Source:
        """The source of that name, declared or default; raises SourceError if there is none."""
        with self._db.read() as tx:
            return self._get(tx, account, name)

    def expect(
        self,
        account: str,
        pattern: str,
        *,
        feed: Feed,
        actor: str,
        name: str = "",
        mode: Mode | None = None,
        priority: int = 100,
        due: str = "",
        empty_means: str = "held",
    ) -> Source:
        """Declare a source, or change what is declared of it.

        Raises PatternError for an unusable pattern, DueError for an unusable due time, SourceError for an unusable
        name, or if another source's pattern could match the same file.
        """
        checked = check_pattern(pattern)
        source = Source(
            name=_check_source_name(name) if name else checked.source_name,
            pattern=pattern,
            feed=feed.name,
            mode=(mode or feed.mode).value,
            priority=priority,
            due=canonical(due),
            empty_means=empty_means,
        )
        if (feed.mode is Mode.EVENTS) is not (source.mode == Mode.EVENTS):
            raise SourceError(
                f"The feed {feed.name} is read as {feed.mode.value}; events and rosters cannot be swapped."
            )
        with audit.changing(self._db) as tx:
            account_id = _account_id(tx, account)
            for other in self._of(tx, account):
                is_default = other.feed == feed.name and other.pattern == f"{feed.name}.csv"
                if other.name != source.name and not is_default and overlap(checked, Pattern(other.pattern)):
                    raise SourceError(
                        f"{pattern!r} could match the same file as {other.pattern!r} of source {other.name}; "
                        "a file must belong to one source only."
                    )
            self._put(tx, account_id, source)
            schools = sa.and_(sources.c.account_id == account_id, sources.c.part_of == source.name)
            same = {"pattern": pattern, "mode": source.mode, "priority": priority, "due_rule": source.due}
            tx.execute(sources.update().where(schools).values(**same, empty_means=empty_means))
            details = {
                "pattern": pattern,
                "feed": feed.name,
                "mode": source.mode,
                "priority": priority,
                "due": source.due,
                "empty_means": empty_means,
            }
            audit.record(tx, actor=actor, action="source.expected", account=account, source=source.name, **details)
        return source

    def keep_mapping(self, account: str, name: str, mapping: KeptMapping | None, *, actor: str) -> None:
        """Keep an account's own mapping of a source (and of its schools' sources), or forget it (None)."""
        with audit.changing(self._db) as tx:
            account_id = _account_id(tx, account)
            source = replace(self._get(tx, account, name), mapping=mapping)
            self._put(tx, account_id, source)
            kept = mapping.as_dict() if mapping else sa.null()
            same = sa.and_(sources.c.account_id == account_id, sources.c.part_of == name)
            tx.execute(sources.update().where(same).values(mapping=kept))
            action = "source.mapped" if mapping else "source.unmapped"
            detail = {"mapping": mapping.as_dict()} if mapping else {}
            audit.record(tx, actor=actor, action=action, account=account, source=name, **detail)

    def retire(self, tx: sa.Connection, account: str, name: str, *, actor: str) -> list[int]:
        """Expect a source no longer, in the caller's transaction; returns the numbers of it and its schools' sources.

        The transaction is one of `audit.changing`.
        What becomes of their rows is the caller's part. Raises SourceError if there is no such source.
        """
        account_id = _account_id(tx, account)
        self._put(tx, account_id, self._get(tx, account, name))
        own = sa.or_(sources.c.name == name, sources.c.part_of == name)
        these = sa.and_(sources.c.account_id == account_id, own, sources.c.retired_at.is_(None))
        ids = list(tx.execute(sa.select(sources.c.id).where(these)).scalars())
        tx.execute(sources.update().where(sources.c.id.in_(ids)).values(retired_at=iso(now())))
        audit.record(tx, actor=actor, action="source.retired", account=account, source=name)
        return ids

    @staticmethod
    def find_id(tx: sa.Connection, account_id: int, source: Source) -> int | None:
        """The database's number of a source, or None: no file of it has come yet."""
        found: int | None = tx.execute(_ID, {"of_account": account_id, "of_name": source.name}).scalar()
        return found

    def id_of(self, tx: sa.Connection, account_id: int, source: Source) -> int:
        """The database's number of a source, in the caller's write transaction; a new one gets its row now.

        A row that is there already stays as it is: an operator may have declared it meanwhile.
        """
        known = self.find_id(tx, account_id, source)
        if known is None:
            row = {"account_id": account_id, "name": source.name, "created_at": iso(now()), **_declared(source)}
            tx.execute(insert_into(tx, sources).values(**row).on_conflict_do_nothing())
            known = self.find_id(tx, account_id, source)
        assert known is not None
        return known

    @staticmethod
    def _put(tx: sa.Connection, account_id: int, source: Source) -> None:
        """Write what is declared of a source."""
        values = _declared(source)
        row = insert_into(tx, sources).values(account_id=account_id, name=source.name, created_at=iso(now()), **values)
        tx.execute(row.on_conflict_do_update(index_elements=["account_id", "name"], set_=values))

    def _of(self, tx: sa.Connection, account: str) -> tuple[Source, ...]:
        rows = tx.execute(_DECLARED, {"of_account": account}).all()
        declared = [_source(row) for row in rows if row.retired_at is None]
        retired = {row.feed for row in rows if row.retired_at is not None}
        return tuple(self._with_defaults(declared, retired))

    def _get(self, tx: sa.Connection, account: str, name: str) -> Source:
        there = self._of(tx, account)
        for source in there:
            if source.name == name:
                return source
        known = ", ".join(source.name for source in there)
        raise SourceError(f"Account {account} has no source {name!r}. It has: {known}.")

    def _with_defaults(self, declared: Iterable[Source], retired: set[str]) -> Iterable[Source]:
        by_feed: dict[str, list[Source]] = {}
        for source in declared:
            by_feed.setdefault(source.feed, []).append(source)
        for feed in self._catalogue.values():
            default = Source(feed.name, f"{feed.name}.csv", feed.name, feed.mode.value)
            yield from by_feed.pop(feed.name, [] if feed.name in retired else [default])


def _check_source_name(name: str) -> str:
    """The name, if a source may have it: receipts are named after it, as `latest-<source>.receipt.json`."""
    if "/" in name:
        raise SourceError(f"{name!r}: a source's name has no slash; call it {name.strip('/').replace('/', '-')!r}.")
    try:
        return check_name(name)
    except NameRefused as refused:
        raise SourceError(f"This cannot be a source's name, after which receipts are named. {refused}") from None


_QUERY = (
    sa.select(
        sources.c.name,
        sources.c.pattern,
        sources.c.feed,
        sources.c.mode,
        sources.c.priority,
        sources.c.due_rule.label("due"),
        sources.c.mapping,
        sources.c.part_of,
        sources.c.empty_means,
        sources.c.retired_at,
    )
    .join(accounts)
    .order_by(sources.c.priority, sources.c.name)
)
_EXPECTED = _QUERY.add_columns(sources.c.id, sources.c.account_id)
_ID = sa.select(sources.c.id).where(
    sources.c.account_id == sa.bindparam("of_account"), sources.c.name == sa.bindparam("of_name")
)
_DECLARED = _QUERY.where(accounts.c.name == sa.bindparam("of_account"), sources.c.part_of.is_(None))


def _source(row: Any) -> Source:  # noqa: ANN401 - a row of _QUERY
    fields = {name: getattr(row, name) for name in Source.__dataclass_fields__}
    return Source(**{**fields, "mapping": KeptMapping.from_dict(fields["mapping"])})


def _declared(source: Source) -> dict[str, Any]:
    """What is declared of a source, as its row has it."""
    return {
        "pattern": source.pattern,
        "feed": source.feed,
        "mode": source.mode,
        "priority": source.priority,
        "due_rule": source.due,
        "mapping": source.mapping.as_dict() if source.mapping else sa.null(),
        "part_of": source.part_of,
        "empty_means": source.empty_means,
        "retired_at": None,
    }


def _account_id(tx: sa.Connection, account: str) -> int:
    found: int | None = tx.execute(sa.select(accounts.c.id).where(accounts.c.name == account)).scalar()
    if found is None:
        raise SourceError(f"There is no account {account!r}. `landingzone accounts list` shows all.")
    return found
