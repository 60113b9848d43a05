"""What the rows of a file give: records of the feed itself, of other feeds, or of both, by the feed's declaration.

Pure. Most rows are one record; an attendance row is one for each period, a guardians row is a guardian and an
association, a families row a student and several guardians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from landingzone.feed import Feed, Field, Kind


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one feed that each row may give: one, or one for each period.

    Attributes:
        feed: whose records these are.
        number: of the group of columns that they come from; 0 if it is none.
        columns: of each of that feed's fields, where it has one, the column that it comes from.
        spread: of the field that takes a value for each record (periods) all columns; empty if there is none.
    """

    feed: Feed
    number: int
    columns: dict[str, str]
    spread: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that the record's key comes from."""
        return (*(self.columns[name] for name in self.feed.key), *self.spread)

    def records(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The records that rows give: `line`, and the feed's fields.

        A row gives none where a field that the key requires is empty.
        """
        required = [self.columns[name] for name in self.feed.key if self.feed.field(name).required]
        named = rows.filter(pl.all_horizontal(pl.col(column) != "" for column in required)) if required else rows
        records = named.select(
            "line",
            *(
                pl.col(self.columns[name]).alias(name)
                if name in self.columns
                else pl.lit("", dtype=pl.String).alias(name)
                for name in self.feed.field_names
            ),
        )
        return self._spread(named, records) if self.spread else records

    def _spread(self, rows: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
        (field,) = (name for name in self.feed.field_names if self.columns.get(name) == self.spread[0])
        values = rows.select(pl.concat_str(self.spread, separator=",")).to_series().str.strip_chars(",")
        if not values.str.contains(",", literal=True).any():
            return records.with_columns(values.alias(field))
        several = values.str.split(",").list.eval(pl.element().filter(pl.element() != "")).list
        return (
            records.with_columns(several.unique(maintain_order=True).alias(field))
            .explode(field, empty_as_null=True)
            .fill_null("")
        )


def parts_of(feed: Feed, fields: Sequence[Field]) -> list[Part]:
    """Everything that rows of these fields give; what the feed itself keeps comes first."""
    parts = []
    if feed.has_table:
        several = [each for each in fields if each.kind is Kind.PERIODS]
        spread = tuple(each.name for each in several if not each.into) + tuple(
            each.name for each in several if each.into
        )
        parts.append(Part(feed, 0, {name: name for name in feed.field_names}, spread))
    numbers = sorted({each.number for each in fields if each.number})
    for given in feed.gives:
        repeated = any("#" in column for _, column in given.fields)
        for number in numbers if repeated else [0]:
            columns = {name: column.replace("#", str(number)) for name, column in given.fields}
            parts.append(Part(given.feed, number, columns))
    return parts
