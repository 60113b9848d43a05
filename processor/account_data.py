"""The account's data: one table for each feed, made from its declaration, rows kept per source.

A row says by number which run first saw it, last changed it, and ended it (deactivated: no longer listed by its source;
0: its source was retired). What an operator adds to a declaration becomes a column here; nothing is ever dropped.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from landingzone.db import Database, take_turn
from landingzone.feed import Catalogue, Feed
from landingzone.tables import sources
from processor.changes import Changes
from processor.copying import copy_in
from processor.rows import Loaded, Rows

RETIRED = 0
"""Stands for a run's number where an operator has retired a source together with its rows."""

_PARTITIONS = 16
"""Of each table on PostgreSQL. A source, and so what one run changes, lies in one. Never to be changed: rows are found
by the remainder."""
_TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Compared byte by byte on every database."""
_FEW = 100
"""So many rows are not worth a table to copy them into."""
_WRITTEN_AT_ONCE = 50_000
_SCHOOL = "school_id"
_PREFIX = "data_"
_OURS = frozenset({"source_id", "first_run", "changed_run", "ended_run"})
"""The columns of every table of rows beside the feed's fields."""
_READ_AT_ONCE = 100_000
_LOOKED_UP_AT_ONCE = 15_000
"""Values of keys in one query: SQLite takes 32,766 parameters, PostgreSQL 65,535."""


@lru_cache(maxsize=256)
def table_of(feed: Feed) -> sa.Table:
    """The table of a feed's rows: source_id, the feed's fields, first_run, changed_run, ended_run (NULL: active)."""
    return _table(f"{_PREFIX}{feed.name}", feed.field_names, feed.key)


def _table(name: str, fields: Iterable[str], key: Iterable[str]) -> sa.Table:
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("source_id", sa.Integer, nullable=False),
        *(sa.Column(field, _TEXT, nullable=False, server_default="") for field in fields),
        sa.Column("first_run", sa.Integer, nullable=False),
        sa.Column("changed_run", sa.Integer, nullable=False),
        sa.Column("ended_run", sa.Integer),
        sa.PrimaryKeyConstraint("source_id", *key),
        sqlite_with_rowid=False,
        postgresql_partition_by="HASH (source_id)",
    )


def tables_there(tx: sa.Connection) -> list[sa.Table]:
    """The tables of rows that a SQLite database has, those of feeds that are no longer declared included."""
    inspector = sa.inspect(tx)
    found = []
    for name in sorted(inspector.get_table_names()):
        if name.startswith(_PREFIX):
            key = [column for column in inspector.get_pk_constraint(name)["constrained_columns"] if column not in _OURS]
            fields = [column["name"] for column in inspector.get_columns(name) if column["name"] not in _OURS]
            found.append(_table(name, fields, key))
    return found


def make(tx: sa.Connection, table: sa.Table) -> None:
    """Make a table of rows; on PostgreSQL with its partitions."""
    table.create(tx)
    _make_partitions(tx, table)


def kept_feeds(catalogue: Catalogue) -> list[Feed]:
    """The feeds that have rows of their own; an all-in-one file's rows are kept as those of the feeds that it gives."""
    return [feed for feed in catalogue.values() if feed.has_table]


def ensure_tables(db: Database, catalogue: Catalogue) -> None:
    """Make the tables and columns that the declarations ask for and the database lacks."""
    with db.write() as tx:
        take_turn(tx, "account tables")
        inspector = sa.inspect(tx)
        for feed in kept_feeds(catalogue):
            table = table_of(feed)
            if not inspector.has_table(table.name):
                make(tx, table)
                continue
            there = {column["name"] for column in inspector.get_columns(table.name)}
            for name in feed.field_names:
                if name not in there:
                    column = sa.schema.CreateColumn(table.c[name]).compile(dialect=tx.dialect)
                    tx.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column}")


def rows_of(tx: sa.Connection, feed: Feed, source_id: int) -> pl.DataFrame:
    """Every row of a source: the feed's fields (String), and `active` (Boolean)."""
    return pl.concat([no_rows(feed), *pieces_of(tx, feed, source_id)])


def pieces_of(tx: sa.Connection, feed: Feed, source_id: int) -> Iterator[pl.DataFrame]:
    """The same in pieces, so that memory does not grow with the source."""
    table = table_of(feed)
    yield from _frames(tx, _with_active(feed).where(table.c.source_id == source_id), feed)


def rows_at(tx: sa.Connection, feed: Feed, source_id: int, keys: pl.DataFrame) -> pl.DataFrame:
    """The rows of a source that have these keys: the feed's fields and `active`; in no order."""
    table = table_of(feed)
    selected = str(_with_active(feed).compile(dialect=tx.dialect))
    names = ", ".join(feed.key)
    same = " AND ".join(f"{table.name}.{name} = wanted.{name}" for name in feed.key)
    one = "(" + ", ".join([_place(tx)] * len(feed.key)) + ")"
    found = [no_rows(feed)]
    for piece in keys.select(feed.key).iter_slices(_LOOKED_UP_AT_ONCE // len(feed.key)):
        # Put together by hand: for so many parameters SQLAlchemy needs ten times as long as the database.
        query = (
            f"WITH wanted ({names}) AS (VALUES {', '.join([one] * piece.height)}) "
            f"{selected} JOIN wanted ON {table.name}.source_id = {source_id:d} AND {same}"
        )
        values = tuple(itertools.chain.from_iterable(piece.iter_rows()))
        result = tx.exec_driver_sql(query, values)
        found.append(_frame(result.fetchall(), feed))
    return pl.concat(found)


def no_rows(feed: Feed) -> pl.DataFrame:
    """What `rows_of` gives for a source of which no file has come yet."""
    return pl.DataFrame(schema={**dict.fromkeys(feed.field_names, pl.String), "active": pl.Boolean})


def add(tx: sa.Connection, feed: Feed, source_id: int, run: int, rows: Rows) -> None:
    """Insert rows that the source has never listed."""
    names = {name: name for name in feed.field_names}
    if tx.dialect.name == "postgresql" and rows.height:
        numbers = {"source_id": source_id, "first_run": run, "changed_run": run}
        constant = [pl.lit(value).alias(name) for name, value in numbers.items()]
        pieces = (piece.select(*feed.field_names, *constant) for piece in rows.iter_slices(_WRITTEN_AT_ONCE))
        copy_in(tx, table_of(feed).name, [*feed.field_names, *numbers], pieces)
        return
    same = {"source_id": source_id, "first_run": run, "changed_run": run, "ended_run": None}
    _write(tx, table_of(feed).insert(), rows, names, **same)


def change(tx: sa.Connection, feed: Feed, source_id: int, run: int, rows: Rows) -> None:
    """Give rows that the source has listed before their present values, and make them active."""
    table = table_of(feed)
    others = [name for name in feed.field_names if name not in feed.key]
    if tx.dialect.name == "postgresql" and rows.height > _FEW:
        to = ", ".join(
            [*(f'"{name}" = staged."{name}"' for name in others), f"changed_run = {run:d}", "ended_run = NULL"]
        )
        _update_from(tx, feed, source_id, feed.field_names, rows, to)
        return
    values: dict[str, sa.BindParameter[str]] = {name: sa.bindparam(f"new_{name}") for name in others}
    statement = table.update().values(**values, changed_run=sa.bindparam("by_run"), ended_run=sa.null())
    names = {name: f"new_{name}" for name in others} | _as_key(feed)
    _write(tx, statement.where(*_is_row(feed)), rows, names, by_run=run, of_source=source_id)


def end(tx: sa.Connection, feed: Feed, source_id: int, run: int, keys: Rows) -> None:
    """Deactivate the rows of these keys, or those of a load that are active."""
    if isinstance(keys, Loaded):
        table = table_of(feed)
        own = (table.c.source_id == source_id, table.c.first_run == keys.run, table.c.ended_run.is_(None))
        tx.execute(table.update().where(*own).values(ended_run=run))
        return
    if tx.dialect.name == "postgresql" and keys.height > _FEW:
        _update_from(tx, feed, source_id, feed.key, keys, f"ended_run = {run:d}")
        return
    statement = table_of(feed).update().values(ended_run=sa.bindparam("by_run")).where(*_is_row(feed))
    _write(tx, statement, keys, _as_key(feed), by_run=run, of_source=source_id)


def applied_to() -> sa.ColumnElement[bool]:
    """Whether a source's rows count (a column of `sources`): something has been applied to them.

    Before that they are a load under way: a first file's rows are written while it is still read, in transactions of
    their own, and count from the one on that commits its outcome.
    """
    return sources.c.rows_run.is_not(None)


def end_all(tx: sa.Connection, catalogue: Catalogue, source_ids: Iterable[int]) -> int:
    """Deactivate every row of retired sources; returns how many there were."""
    ids, ended = list(source_ids), 0
    for feed in kept_feeds(catalogue):
        table = table_of(feed)
        active = sa.and_(table.c.source_id.in_(ids), table.c.ended_run.is_(None))
        ended += tx.execute(table.update().where(active).values(ended_run=RETIRED)).rowcount
    tx.execute(sources.update().where(sources.c.id.in_(ids), applied_to()).values(rows_run=RETIRED))
    return ended


def active_counts(tx: sa.Connection, catalogue: Catalogue, account_id: int) -> dict[str, int]:
    """How many rows of each feed are active in an account, over all its sources: one for each key."""
    counts: dict[str, int] = {}
    for feed in kept_feeds(catalogue):
        table = table_of(feed)
        keys = (
            sa.select(*(table.c[name] for name in feed.key))
            .join(sources, sources.c.id == table.c.source_id)
            .where(sources.c.account_id == account_id, applied_to(), table.c.ended_run.is_(None))
            .distinct()
        )
        counts[feed.name] = tx.execute(sa.select(sa.func.count()).select_from(keys.subquery())).scalar_one()
    return counts


def active_of_source(tx: sa.Connection, catalogue: Catalogue, account_id: int, source: str) -> int:
    """How many rows are active of a source and of its schools' sources, over all feeds."""
    own = sa.or_(sources.c.name == source, sources.c.part_of == source)
    named = sa.select(sources.c.id).where(sources.c.account_id == account_id, applied_to(), own)
    ids = list(tx.execute(named).scalars())
    return sum(active_count(tx, feed, source_id) for feed in kept_feeds(catalogue) for source_id in ids)


def active_count(tx: sa.Connection, feed: Feed, source_id: int) -> int:
    """How many rows of one source are active."""
    table = table_of(feed)
    query = sa.select(sa.func.count()).where(table.c.source_id == source_id, table.c.ended_run.is_(None))
    return tx.execute(query.select_from(table)).scalar_one()


def schools_gone(tx: sa.Connection, changes: Iterable[Changes], source_id: int) -> dict[str, int]:
    """The schools of which every active row of a source would be deactivated, and how many these are, the most first.

    Only of feeds whose records name a school.
    """
    gone: dict[str, int] = {}
    for one in changes:
        if _SCHOOL not in one.feed.field_names:
            continue
        going: Counter[str] = Counter()
        for rows in one.deactivated.iter_slices(_WRITTEN_AT_ONCE):
            going.update(dict(rows[_SCHOOL].value_counts().iter_rows()))
        table = table_of(one.feed)
        school = table.c[_SCHOOL]
        query = sa.select(school, sa.func.count()).where(table.c.source_id == source_id, table.c.ended_run.is_(None))
        standing = {row[0]: row[1] for row in tx.execute(query.group_by(school))}
        gone |= {name: count for name, count in going.most_common() if name and count == standing.get(name)}
    return gone


def discard_load(db: Database, feed: Feed, source_id: int) -> None:
    """Remove every row of a source to which nothing has been applied: what a load that did not end well has left.

    In several transactions, so that others get their turn in between.
    """
    table = table_of(feed)
    first = table.c[feed.key[0]]
    own = table.c.source_id == source_id
    bound = sa.select(first).where(own).order_by(first).offset(_WRITTEN_AT_ONCE).limit(1)
    applied = sa.exists().where(sources.c.id == source_id, applied_to())
    with db.read() as tx:
        if tx.execute(sa.select(first).where(own).limit(1)).first() is None:
            return
    while True:
        with db.write() as tx:
            last = tx.execute(bound).scalar()
            some = own if last is None else sa.and_(own, first <= last)
            tx.execute(table.delete().where(some, ~applied))
        if last is None:
            return


def _make_partitions(tx: sa.Connection, table: sa.Table) -> None:
    if tx.dialect.name == "postgresql":
        for at in range(_PARTITIONS):
            values = f"FOR VALUES WITH (MODULUS {_PARTITIONS}, REMAINDER {at})"
            tx.exec_driver_sql(f'CREATE TABLE "{table.name}_{at:02}" PARTITION OF "{table.name}" {values}')


def _update_from(tx: sa.Connection, feed: Feed, source_id: int, columns: Sequence[str], rows: Rows, to: str) -> None:
    """Copy rows into a table that ends with the transaction, and change by one statement those that have their keys."""
    table = table_of(feed).name
    names = ", ".join(f'"{name}"' for name in columns)
    tx.exec_driver_sql(f'CREATE TEMPORARY TABLE staged ON COMMIT DROP AS SELECT {names} FROM "{table}" WITH NO DATA')  # noqa: S608 - names of the declaration
    copy_in(tx, "staged", columns, (piece.select(columns) for piece in rows.iter_slices(_WRITTEN_AT_ONCE)))
    tx.exec_driver_sql("ANALYZE staged")
    same = " AND ".join(f'"{table}"."{name}" = staged."{name}"' for name in feed.key)
    tx.exec_driver_sql(f'UPDATE "{table}" SET {to} FROM staged WHERE "{table}".source_id = {source_id:d} AND {same}')  # noqa: S608 - as above
    tx.exec_driver_sql("DROP TABLE staged")


def _with_active(feed: Feed) -> sa.Select[*tuple[Any, ...]]:
    table = table_of(feed)
    active = sa.case((table.c.ended_run.is_(None), sa.literal_column("1")), else_=sa.literal_column("0"))
    return sa.select(*(table.c[name] for name in feed.field_names), active.label("active"))


def _frames(tx: sa.Connection, query: sa.Select[*tuple[Any, ...]], feed: Feed) -> Iterator[pl.DataFrame]:
    for found in _fetched(tx, query):
        yield _frame(found, feed)


def _frame(rows: Sequence[Any], feed: Feed) -> pl.DataFrame:
    schema: dict[str, type[pl.DataType]] = {**dict.fromkeys(feed.field_names, pl.String), "active": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("active").cast(pl.Boolean))


def _place(tx: sa.Connection) -> str:
    """Where a parameter goes in the driver's own SQL."""
    return "?" if tx.dialect.paramstyle == "qmark" else "%s"


def _fetched(tx: sa.Connection, query: sa.Select[*tuple[Any, ...]]) -> Iterator[Sequence[Any]]:
    if tx.dialect.name != "sqlite":
        with tx.execution_options(stream_results=True).execute(query) as result:
            yield from result.partitions(_READ_AT_ONCE)
        return
    with tx.execute(query) as result:
        assert result.cursor is not None
        while found := result.cursor.fetchmany(_READ_AT_ONCE):  # plain tuples: a row object each costs half of the time
            yield found


def active_with(tx: sa.Connection, feed: Feed, source_id: int, field: str, value: str) -> int:
    """How many active rows of a source have this value."""
    table = table_of(feed)
    query = sa.select(sa.func.count()).where(table.c.source_id == source_id, table.c.ended_run.is_(None))
    return tx.execute(query.where(table.c[field] == value).select_from(table)).scalar_one()


def _as_key(feed: Feed) -> dict[str, str]:
    return {name: f"key_{name}" for name in feed.key}


def _is_row(feed: Feed) -> Iterable[sa.ColumnElement[bool]]:
    table = table_of(feed)
    yield table.c.source_id == sa.bindparam("of_source")
    for name, parameter in _as_key(feed).items():
        yield table.c[name] == sa.bindparam(parameter)


def _write(
    tx: sa.Connection,
    statement: sa.Insert | sa.Update,
    rows: Rows,
    names: Mapping[str, str],
    **same: int | None,
) -> None:
    """Execute a statement for each row, in bounded slices.

    `names` maps the rows' columns to the statement's parameters; `same` are parameters that all rows share.
    """
    compiled = statement.compile(dialect=tx.dialect, column_keys=[*names.values(), *same])
    order = compiled.positiontup  # the driver's order of parameters, where it goes by position; else by name
    for piece in rows.iter_slices(_WRITTEN_AT_ONCE):
        if not piece.height:
            continue
        renamed = piece.select(
            *(pl.col(column).alias(parameter) for column, parameter in names.items()),
            *(pl.lit(value, dtype=pl.Int64).alias(parameter) for parameter, value in same.items()),
        )
        if order is None:
            tx.execute(statement, renamed.to_dicts())
        else:
            tx.exec_driver_sql(str(compiled), renamed.select(order).rows())
