"""In which order, and under which names, a source's columns go into the ideal file. Pure."""

from dataclasses import dataclass

from landingzone.feed import Feed
from landingzone.kept_mapping import KeptMapping
from processor.mapping import resolve


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Columns in the order of the ideal file.

    Attributes:
        header: their names; None if the source names none, because names made from places would hide a guess.
        positions: where each stands in the source, from 0.
    """

    header: tuple[str, ...] | None
    positions: tuple[int, ...]


def arrange(feed: Feed, header: tuple[str, ...] | None, width: int, kept: KeptMapping) -> Arrangement:
    """The feed's fields under their own names in declared order, then all other columns as they are.

    Where a required field is missing, or the new header would be read as another one, everything stays as it is.

    Args:
        feed: what the source holds.
        header: the source's names.
        width: its number of columns.
        kept: what the settings say of the columns.
    """
    as_it_is = tuple(range(width))
    found = resolve(feed, header, width, kept)
    if header is None or found.missing:
        return Arrangement(header, as_it_is)
    others = [at for at in as_it_is if at not in set(found.columns.values())]
    positions = (*found.columns.values(), *others)
    names = (*found.columns, *(header[at] if at < len(header) else "" for at in others))
    again = resolve(feed, names, len(names))
    if again.columns != {field: at for at, field in enumerate(found.columns)}:
        return Arrangement(header, as_it_is)
    return Arrangement(names, positions)
