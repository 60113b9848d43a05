"""The merged view: an account's records over all sources of a feed.

A record is active while any of its sources lists it, and its fields come from the sources in order of their declared
priority (then of their names), field by field, the first that is not empty. One SQL statement for SQLite and
PostgreSQL; where one source speaks of a feed, which is the common case, it is a plain read of that source's rows.
"""

import operator
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache, reduce

import sqlalchemy as sa

from landingzone.feed import Feed, Kind
from landingzone.tables import sources
from processor.account_data import applied_to, table_of

_RANK = "{:06}"
"""How a source's place in the order is written before a value: of equal length, so that the least text is the first."""


def merged(tx: sa.Connection, feed: Feed, account_id: int, fields: Sequence[str] | None = None) -> sa.FromClause:
    """The active records of a feed, one for each key: to select from and to join.

    Args:
        tx: the transaction in which it will be used: which sources have active rows is looked up at once.
        feed: whose records.
        account_id: whose sources.
        fields: the columns it gives, None for all; fewer are quicker where several sources speak of the feed.

    A field that has a default comes from the first source that says something; where none does, it is the default.
    """
    table = table_of(feed)
    names = feed.field_names if fields is None else tuple(fields)
    spoken = speaking(tx, feed, account_id)
    if len(spoken) <= 1:
        return _rows(feed, spoken, names).subquery()
    ranks = sa.values(sa.column("source_id", sa.Integer), sa.column("rank", sa.Text), literal_binds=True)
    order = ranks.data([(source, _RANK.format(at)) for at, source in enumerate(spoken)]).cte()
    columns = [table.c[name] if name in feed.key else _first_given(feed, name, table, order) for name in names]
    rows = sa.select(*columns).join(order, order.c.source_id == table.c.source_id)
    return rows.where(table.c.ended_run.is_(None)).group_by(*(table.c[name] for name in feed.key)).cte()


def values(tx: sa.Connection, feed: Feed, account_id: int, fields: Sequence[str]) -> sa.Select[*tuple[str, ...]]:
    """What the active records have in these fields; the same values may come several times."""
    spoken = speaking(tx, feed, account_id)
    if len(spoken) <= 1 or set(fields) <= set(feed.key):
        return _rows(feed, spoken, fields)
    records = merged(tx, feed, account_id, fields)
    return sa.select(*(records.c[name] for name in fields))


def lacking(
    tx: sa.Connection, columns: Sequence[sa.ColumnElement[str]], partners: sa.Select[*tuple[str, ...]]
) -> sa.ColumnElement[bool]:
    """Whether no row of `partners` has these values; its columns are in the same order.

    SQLite makes one list of the partners for NOT IN and asks them row by row for NOT EXISTS; but of a NOT IN of several
    columns it reads the whole list for each row that is not in it, in case it holds a NULL (240,000 rows of which most
    lack a partner took 36 s), so they are made one. PostgreSQL joins for NOT EXISTS, and for NOT IN searches a list
    that may not fit its memory once for each row.
    """
    found = partners.subquery()
    if tx.dialect.name == "sqlite":
        return _as_one(columns).not_in(sa.select(_as_one(list(found.c))))
    return ~sa.exists().where(*(own == other for own, other in zip(columns, found.c, strict=True)))


def _as_one(columns: Sequence[sa.ColumnElement[str]]) -> sa.ColumnElement[str]:
    """The values as one, in which each but the last has its length before it: others never look the same."""
    *others, last = columns
    parts = [part for column in others for part in (sa.cast(sa.func.length(column), sa.Text), sa.literal(":"), column)]
    return reduce(operator.add, [*parts, last])


def speaking(tx: sa.Connection, feed: Feed, account_id: int) -> list[int]:
    """The numbers of the sources that have active rows of a feed, in the order in which they are asked for a field.

    A source that a `{school}` pattern has made has the priority of the declared one. A retired source's rows are
    active or not as was said when it was retired.
    """
    found = tx.execute(_speaking(feed), {"of_account": account_id})
    return [source for source, *_ in sorted(found, key=lambda row: (row[1], row[2]))]


@lru_cache(maxsize=256)
def _speaking(feed: Feed) -> sa.Select[int, int, str]:
    declared = sources.alias()
    active = sa.exists().where(table_of(feed).c.source_id == sources.c.id, table_of(feed).c.ended_run.is_(None))
    return (
        sa.select(sources.c.id, sa.func.coalesce(declared.c.priority, sources.c.priority), sources.c.name)
        .outerjoin(
            declared, sa.and_(declared.c.account_id == sources.c.account_id, declared.c.name == sources.c.part_of)
        )
        .where(sources.c.account_id == sa.bindparam("of_account"), applied_to(), active)
    )


def ever_sent(tx: sa.Connection, feed: Feed, account_id: int) -> bool:
    """Whether any source has ever given a row of a feed, be it active or not."""
    return tx.execute(_ever_sent(feed), {"of_account": account_id}).first() is not None


@lru_cache(maxsize=256)
def _ever_sent(feed: Feed) -> sa.Select[int]:
    rows = sa.exists().where(table_of(feed).c.source_id == sources.c.id)
    query = sa.select(sources.c.id).where(sources.c.account_id == sa.bindparam("of_account"), applied_to(), rows)
    return query.limit(1)


def _rows(feed: Feed, spoken: Collection[int], names: Iterable[str]) -> sa.Select[*tuple[str, ...]]:
    """The active rows of some sources. One is compared, not listed: databases see at once that its key is unique."""
    table = table_of(feed)
    match list(spoken):
        case []:
            of_source: sa.ColumnElement[bool] = sa.false()
        case [source]:
            of_source = table.c.source_id == source
        case several:
            of_source = table.c.source_id.in_(several)
    columns = [_or_default(feed, name) for name in names]
    return sa.select(*columns).where(of_source, table.c.ended_run.is_(None))


def _first_given(feed: Feed, name: str, table: sa.Table, order: sa.CTE) -> sa.Label[str]:
    """Of a key's rows the value that comes first and is not empty: the least of rank and value, without the rank."""
    value, default = table.c[name], _default(feed, name)
    first = sa.func.min(sa.case((value != "", order.c.rank + value)))
    return sa.func.coalesce(sa.func.substr(first, len(_RANK.format(0)) + 1), default).label(name)


def _or_default(feed: Feed, name: str) -> sa.ColumnElement[str]:
    value, default = table_of(feed).c[name], _default(feed, name)
    return sa.case((value == "", default), else_=value).label(name) if default else value


def _default(feed: Feed, name: str) -> str:
    """What an empty value of a field means; a day's is decided when its file lands, and never empty afterwards."""
    field = feed.field(name)
    return "" if name in feed.key or field.kind is Kind.DATE else field.default
