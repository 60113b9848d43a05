"""Integrity: what does not fit together between an account's feeds now, from the active merged records.

A reference without a partner, or an id that belongs to more than one kind of person, rejects nothing: it is a warning
that resolves by itself when the other file comes, and stays listed until then.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import sqlalchemy as sa

from landingzone.feed import Catalogue, Feed, Reference
from processor.account_data import kept_feeds, table_of
from processor.merged import ever_sent, lacking, merged, speaking, values

CODES = {
    "reference_missing": "Records name a record of another file that is not there.",
    "id_shared": "The same id belongs to more than one of student, staff member and guardian.",
    "feed_never_sent": "Records name records of a file that has never come; those references are not checked.",
}
"""What integrity finds. A receipt never holds the last one: an account need not send every feed."""

PEOPLE = {"students": "student_id", "staff": "staff_id", "guardians": "guardian_id"}
"""The feeds whose ids must be different from each other's (reference, appendices A and B)."""

SHOWN = 10
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit together.

    Attributes:
        code: one of CODES.
        feed: whose records are meant.
        field: the fields that name something, separated by commas.
        other: the feed that lacks it, or has the id, too.
        count: how many records of `feed`; 0 where that is not asked.
        message: for people.
        records: the first of them in order of the key, or all: the key and the fields of each.
    """

    code: str
    feed: str
    field: str
    other: str
    count: int
    message: str
    records: tuple[dict[str, str], ...] = ()


def findings(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, *, limit: int | None = SHOWN
) -> Iterator[Finding]:
    """Everything that is open in an account, feed by feed; `limit` records of each, None for all."""
    for feed in kept_feeds(catalogue):
        yield from open_references(tx, catalogue, account_id, feed, limit=limit)
    yield from shared_ids(tx, catalogue, account_id, limit=limit)
    yield from _never_sent(tx, catalogue, account_id)


def open_references(
    tx: sa.Connection,
    catalogue: Catalogue,
    account_id: int,
    feed: Feed,
    *,
    limit: int | None = SHOWN,
    run: int | None = None,
) -> Iterator[Finding]:
    """The references of a feed's active records that have no active partner; with `run` of those it wrote.

    A reference is asked for only if the other feed has ever been sent, and if it is not empty.
    """
    for reference in _checked(catalogue, feed):
        other = catalogue[reference.feed]
        if not ever_sent(tx, other, account_id):
            continue
        partners = values(tx, other, account_id, reference.to)
        query = _without_partner(tx, feed, reference, partners, account_id, run)
        count, records = _first(tx, query, feed.key, limit)
        if count:
            told = "; ".join(", ".join(record[name] for name in reference.fields) for record in records[:_EXAMPLES])
            named = " and ".join(feed.field(name).label for name in reference.fields)
            message = (
                f"{count:,} rows of {feed.name} have a {named} that is not in {other.name}, for example {told}. "
                f"This is settled by itself once the {other.name} file lists it."
            )
            named_records = [[record[name] for name in reference.fields] for record in records[:_EXAMPLES]]
            if _zeros_aside(tx, partners, named_records):
                message += (
                    f" But {other.name} has the same with other leading zeros: export identifiers as text everywhere, "
                    "so that none is lost."
                )
            yield Finding(
                "reference_missing", feed.name, ",".join(reference.fields), other.name, count, message, records
            )


def shared_ids(
    tx: sa.Connection,
    catalogue: Catalogue,
    account_id: int,
    *,
    only: Collection[str] = tuple(PEOPLE),
    limit: int | None = SHOWN,
) -> Iterator[Finding]:
    """The ids that two of students, staff and guardians have; `only` pairs of which one is among these."""
    if not set(PEOPLE) & set(only):
        return
    people = [name for name in PEOPLE if name in catalogue and speaking(tx, catalogue[name], account_id)]
    for name, other in combinations(people, 2):
        if name not in only and other not in only:
            continue
        one = values(tx, catalogue[name], account_id, [PEOPLE[name]]).subquery()
        two = values(tx, catalogue[other], account_id, [PEOPLE[other]]).subquery()
        query = sa.select(one.c[PEOPLE[name]]).join(two, one.c[PEOPLE[name]] == two.c[PEOPLE[other]]).distinct()
        count, records = _first(tx, query, [PEOPLE[name]], limit)
        if count:
            told = ", ".join(record[PEOPLE[name]] for record in records[:_EXAMPLES])
            message = (
                f"{count:,} ids stand in both {name} and {other}, for example {told}. Students, staff and guardians "
                "must not share ids; give one of the two others."
            )
            yield Finding("id_shared", name, PEOPLE[name], other, count, message, records)


def warnings_for(
    tx: sa.Connection, catalogue: Catalogue, account_id: int, feed_names: Collection[str], *, run: int | None = None
) -> list[dict[str, object]]:
    """Warnings for the receipt of a file that has given records of these feeds, right after they were applied.

    Args:
        tx: the transaction that applied them.
        catalogue: all feeds.
        account_id: the account's.
        feed_names: the feeds of which the file gave records.
        run: the run's serial, to ask only of the rows that it added or changed: quicker for a small change.

    Each is {code, field, count, message, lines: []}.
    """
    feeds = [feed for feed in kept_feeds(catalogue) if feed.name in feed_names]
    found = [
        *(one for feed in feeds for one in open_references(tx, catalogue, account_id, feed, limit=_EXAMPLES, run=run)),
        *shared_ids(tx, catalogue, account_id, only=feed_names, limit=_EXAMPLES),
    ]
    return [
        {"code": one.code, "field": one.field, "count": one.count, "message": one.message, "lines": []} for one in found
    ]


def _never_sent(tx: sa.Connection, catalogue: Catalogue, account_id: int) -> Iterator[Finding]:
    naming: dict[str, list[tuple[str, str]]] = {}
    for feed in kept_feeds(catalogue):
        for reference in _checked(catalogue, feed):
            if speaking(tx, feed, account_id) and not ever_sent(tx, catalogue[reference.feed], account_id):
                naming.setdefault(reference.feed, []).append((feed.name, ",".join(reference.fields)))
    for other, fields in naming.items():
        told = ", ".join(f"{field} of {feed}" for feed, field in fields)
        yield Finding(
            "feed_never_sent",
            fields[0][0],
            fields[0][1],
            other,
            0,
            f"No {other} file has ever come, so what {told} names is not checked.",
        )


def _checked(catalogue: Catalogue, feed: Feed) -> Iterator[Reference]:
    """The references between fields that are kept (a guardians file's student is kept as an association)."""
    for reference in feed.references:
        other = catalogue.get(reference.feed)
        kept = other is not None and set(reference.to) <= set(other.field_names)
        if kept and set(reference.fields) <= set(feed.field_names):
            yield reference


def _without_partner(
    tx: sa.Connection,
    feed: Feed,
    reference: Reference,
    partners: sa.Select[*tuple[str, ...]],
    account_id: int,
    run: int | None,
) -> sa.Select[*tuple[str, ...]]:
    names = tuple(dict.fromkeys([*feed.key, *reference.fields]))
    spoken = speaking(tx, feed, account_id)
    by_key = set(reference.fields) <= set(feed.key)
    rows: sa.FromClause
    if run is not None or by_key:  # rows of several sources differ, if at all, in other fields
        rows = table_of(feed)
        query = sa.select(*(rows.c[name] for name in names)).where(rows.c.ended_run.is_(None))
        query = query.where(rows.c.source_id.in_(spoken) if len(spoken) != 1 else rows.c.source_id == spoken[0])
        query = query.where(rows.c.changed_run == run) if run is not None else query
        query = query.distinct() if len(spoken) > 1 else query
    else:
        rows = merged(tx, feed, account_id, names)
        query = sa.select(*(rows.c[name] for name in names))
    fields = [rows.c[name] for name in reference.fields]
    if run is None and len(spoken) == 1 and reference.fields == feed.key[:1]:
        # The rows stand in this order, so each value is looked for once and not for each row: half the time.
        distinct = values(tx, feed, account_id, reference.fields).distinct().subquery()
        field = distinct.c[reference.fields[0]]
        return query.where(fields[0].in_(sa.select(field).where(field != "", lacking(tx, [field], partners))))
    return query.where(*(field != "" for field in fields), lacking(tx, fields, partners))


def _zeros_aside(tx: sa.Connection, partners: sa.Select[*tuple[str, ...]], named: Collection[Collection[str]]) -> bool:
    """Whether one of these has a partner once leading zeros are set aside, as a spreadsheet does to numbers."""
    found = partners.subquery()
    same = [
        sa.and_(*(sa.func.ltrim(column, "0") == value.lstrip("0") for column, value in zip(found.c, one, strict=True)))
        for one in named
    ]
    return tx.execute(sa.select(found).where(sa.or_(*same)).limit(1)).first() is not None


def _first(
    tx: sa.Connection, query: sa.Select[*tuple[str, ...]], order: Collection[str], limit: int | None
) -> tuple[int, tuple[dict[str, str], ...]]:
    """How many rows a query has, and the first of them. It is asked twice only if there are more than `limit`."""
    # Materialised, or PostgreSQL hopes to find the first ones soon and compares row by row.
    every = query.cte().prefix_with("MATERIALIZED", dialect="postgresql")
    ordered = sa.select(every).order_by(*(every.c[name] for name in order))
    with _comparing_many(tx):
        found = tx.execute(ordered if limit is None else ordered.limit(limit + 1)).mappings().all()
        records = tuple(dict(row) for row in found[:limit])
        if limit is None or len(found) <= limit:
            return len(found), records
        return tx.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one(), records


@contextmanager
def _comparing_many(tx: sa.Connection) -> Iterator[None]:
    """PostgreSQL's statistics know nothing of rows that were just written: it takes them for a few, and would compare
    each with each. 26,000 enrollments took twelve seconds then, and ten times as many a hundred times as long.
    """
    if tx.dialect.name != "postgresql":
        yield
        return
    tx.exec_driver_sql("SET LOCAL enable_nestloop = off")
    yield  # after an error the transaction ends, and this with it
    tx.exec_driver_sql("SET LOCAL enable_nestloop = on")
