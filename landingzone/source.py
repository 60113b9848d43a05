"""Sources: the files that an account sends, each a name or pattern that holds one feed.

By default an account has one source per feed, named after it (students.csv, ...; case ignored).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa

from landingzone.clock import iso, now
from landingzone.db import Database
from landingzone.feed import Catalogue
from landingzone.tables import accounts, sources

#: What a pattern's `.csv` also stands for: the same rows as text, spreadsheet, or compressed.
_CSV_ENDING = r"\.(?:(?:csv|txt|tsv|xlsx)(?:\.(?:gz|zip|zst))?|zip)"

#: Names under which clients upload before they rename: they never match a source and never settle.
_TEMPORARY = re.compile(
    r"\..+|.+\.(filepart|part|partial|tmp|temp|upload|uploading|crdownload|download|swp)|.+~|\$.+|~.+",
    re.IGNORECASE | re.DOTALL,
)


def is_temporary(name: str) -> bool:
    """Whether a client is known to use such a name only until its rename.

    >>> [is_temporary(n) for n in ("students.csv.filepart", ".in.students.csv.", "students.csv")]
    [True, True, False]
    """
    return bool(_TEMPORARY.fullmatch(name))


@dataclass(frozen=True, slots=True)
class Source:
    """One file that an account sends.

    Attributes:
        name: unique within the account; names `latest-<source>.receipt.json`.
        pattern: the expected file name; `{date}` stands for any date.
        feed: the name of the feed it holds.
        mode: what the file says about rows that it does not list (full, delta, events).
        priority: of several sources of one record the lowest number is asked first.
    """

    name: str
    pattern: str
    feed: str
    mode: str
    priority: int = 100

    def matches(self, file_name: str) -> bool:
        """Whether a file of that name belongs to this source; case is ignored, and so is how it is packed.

        >>> students = Source("students", "students.csv", "students", "full")
        >>> [students.matches(name) for name in ("Students.CSV", "students.csv.gz", "students.xlsx", "students2.csv")]
        [True, True, True, False]
        """
        return not is_temporary(file_name) and bool(_compile(self.pattern).fullmatch(file_name))


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> re.Pattern[str]:
    stem = pattern.removesuffix(".csv")
    return re.compile(re.escape(stem) + ("" if stem == pattern else _CSV_ENDING), re.IGNORECASE)


class Sources:
    """The sources of every account: those declared, and one by default for each feed that has none."""

    def __init__(self, db: Database, catalogue: Catalogue) -> None:
        self._db = db
        self._catalogue = catalogue

    def of(self, account: str) -> tuple[Source, ...]:
        """What is expected of an account, in the catalogue's order."""
        query = (
            sa.select(sources.c.name, sources.c.pattern, sources.c.feed, sources.c.mode, sources.c.priority)
            .join(accounts)
            .where(accounts.c.name == account)
            .order_by(sources.c.name)
        )
        with self._db.read() as tx:
            declared = [Source(*row) for row in tx.execute(query)]
        return tuple(self._with_defaults(declared))

    def match(self, account: str, file_name: str) -> Source | None:
        """The source that a file of that name belongs to, or None: nobody expects it."""
        return next((source for source in self.of(account) if source.matches(file_name)), None)

    @staticmethod
    def find_id(tx: sa.Connection, account_id: int, source: Source) -> int | None:
        """The database's number of a source, or None: no file of it has come yet."""
        query = sa.select(sources.c.id).where(sources.c.account_id == account_id, sources.c.name == source.name)
        return tx.execute(query).scalar()

    def id_of(self, tx: sa.Connection, account_id: int, source: Source) -> int:
        """The database's number of a source, in the caller's write transaction; a default one gets its row now."""
        known = self.find_id(tx, account_id, source)
        if known is None:
            row = sources.insert().values(
                account_id=account_id,
                name=source.name,
                pattern=source.pattern,
                feed=source.feed,
                mode=source.mode,
                priority=source.priority,
                created_at=iso(now()),
            )
            known = tx.execute(row.returning(sources.c.id)).scalar_one()
        return known

    def _with_defaults(self, declared: Iterable[Source]) -> Iterable[Source]:
        by_feed: dict[str, list[Source]] = {}
        for source in declared:
            by_feed.setdefault(source.feed, []).append(source)
        for feed in self._catalogue.values():
            yield from by_feed.pop(feed.name, [Source(feed.name, f"{feed.name}.csv", feed.name, feed.mode.value)])
