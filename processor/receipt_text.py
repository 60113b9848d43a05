"""The receipt as people read it: what came, what was taken, what was not and why, what to do. Pure.

It is made from the receipt's JSON values (`processor.receipt.compose`) alone.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from processor.outcome import APPLIED, Outcome

_WIDTH: Final = 100
_VALUE_SHOWN: Final = 60
_LINES_NAMED: Final = 10


def as_text(receipt: Mapping[str, Any]) -> bytes:
    """UTF-8, lines ended as Windows' editors expect, at most 100 columns wide where values allow.

    What matters to whoever reads it comes first, what a technician asks for last.
    """
    parts = (_what_became, _counts, _not_taken, _worth_a_look, _differs, _for_technicians)
    blocks = [list(part(receipt)) for part in parts]
    return "\r\n".join(line for block in blocks if block for line in (*block, "")).encode()


def _what_became(receipt: Mapping[str, Any]) -> Iterator[str]:
    came = f", received {_moment(receipt['landed_at'])}" if receipt["landed_at"] else ""
    yield from (f"RECEIPT  {_plain(receipt['file'])}{came}", "")
    yield from _wrap(receipt["message"])
    if receipt["hold"]:
        yield ""
        yield from _wrap(f"Why it waits: {receipt['hold']['message']}")


def _counts(receipt: Mapping[str, Any]) -> Iterator[str]:
    rows = receipt["rows"]
    if not rows["read"]:
        return
    yield f"In the file ({receipt['feed']}):"
    yield from _table({"rows": rows["read"], "usable": rows["accepted"], "rejected, see below": rows["rejected"]})
    if receipt["outcome"] not in APPLIED:
        return
    yield "In your account:"
    yield from _table(
        {
            "new": rows["added"],
            "changed": rows["changed"],
            "as before": rows["unchanged"],
            "no longer listed, and deactivated": rows["deactivated"],
        }
    )


def _not_taken(receipt: Mapping[str, Any]) -> Iterator[str]:
    """Rejected rows by their reason, each with its line and the value that is meant."""
    if not receipt["reject_counts"]:
        return
    yield "Rejected rows, with their lines in your file:"
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for reject in receipt["rejects"]:
        by_reason.setdefault(reject["message"], []).append(reject)
    for message, rejects in by_reason.items():
        yield from _wrap(f"  {message}", indent="  ")
        for reject in rejects:
            value = _plain(reject["value"])
            shown = value if len(value) <= _VALUE_SHOWN else value[: _VALUE_SHOWN - 1] + "…"
            yield f"      line {reject['line']}" + (f": {shown}" if shown else "")
    more = receipt["rows"]["rejected"] - len({reject["line"] for reject in receipt["rejects"]})
    if more > 0:
        yield f"  ... and {more:,} more; the .rejects.csv beside this receipt lists all."


def _worth_a_look(receipt: Mapping[str, Any]) -> Iterator[str]:
    if not receipt["warnings"]:
        return
    yield "Worth a look" + (" (these rows were taken):" if receipt["outcome"] in APPLIED else ":")
    for warning in receipt["warnings"]:
        named = warning["lines"][:_LINES_NAMED]
        where = f" {'Line' if len(warning['lines']) == 1 else 'Lines'} {', '.join(map(str, named))}" if named else ""
        also = " and others" if named and warning["count"] > len(named) else ""
        end = "." if named else ""
        yield from _wrap(f"  {warning['message']}{where}{also}{end}", indent="      ")


def _differs(receipt: Mapping[str, Any]) -> Iterator[str]:
    if not receipt["tolerated"]:
        return
    taken = receipt["outcome"] in APPLIED
    yield "Taken, although it differs from what we ask for:" if taken else "Differs from what we ask for:"
    for note in receipt["tolerated"]:
        yield from _wrap(f"  {note['message']}", indent="      ")


def _for_technicians(receipt: Mapping[str, Any]) -> Iterator[str]:
    yield "For your technician, and if you ask us about this file:"
    if receipt["landing_id"]:
        resumed = ", continued after a cut" if receipt["resumed"] else ""
        yield f"  account      {receipt['account']}"
        yield f"  receipt      {receipt['landing_id']}, attempt {receipt['attempt']}: {Outcome(receipt['outcome'])}"
        yield f"  received     {receipt['landed_at']}, {receipt['bytes']:,} bytes{resumed}"
        yield f"  finished     {receipt['finished_at']}"
    yield f"  SHA-256      {receipt['sha256'] or '-'}"


def _table(counts: Mapping[str, int]) -> Iterator[str]:
    for name, count in counts.items():
        yield f"  {count:>9,}  {name}"


def _moment(stamp: str) -> str:
    """A time as people write it, to the minute."""
    return f"{stamp[:10]} {stamp[11:16]} UTC"


def _plain(text: str) -> str:
    """A value on one line: what cannot be printed (line breaks, marks of direction) is a blank."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, drop_whitespace=True)
