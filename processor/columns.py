"""What the receipt says of a file's columns: which were not used, and how they differ from the last file's. Pure."""

from collections.abc import Iterator, Sequence

from processor import codes

_SHOWN = 20


def notes(
    header: Sequence[str] | None, last: Sequence[str] | None, ignored: Sequence[str], twice: Sequence[str] = ()
) -> Iterator[dict[str, str]]:
    """{code, message} for each thing to say; `last` is the header of the file that the source stands at, if known.

    `twice` are names that stand more than once, so that no field could take one of them.

    >>> [note["message"] for note in notes(["a", "c"], ["a", "b"], [])]
    ['The columns are not those of the last file: new: c; gone: b. Tell us if that was not meant.']
    """
    if twice:
        yield _note("columns_twice", ", ".join(twice[:_SHOWN]))
    if ignored:
        yield _note("columns_unused", ", ".join(ignored[:_SHOWN]))
    if header is None or last is None or list(header) == list(last):
        return
    new = [name for name in header if name not in last]
    gone = [name for name in last if name not in header]
    parts = [f"{word}: {', '.join(names[:_SHOWN])}" for word, names in (("new", new), ("gone", gone)) if names]
    yield _note("columns_changed", "; ".join(parts) or "they come in another order")


def _note(code: str, names: str) -> dict[str, str]:
    return {"code": code, "message": codes.message(code, field=names)}
