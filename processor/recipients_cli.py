"""The commands that read an account's data as the service would: `recipients`, `accounts integrity`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landingzone.accounts_cli import AccountName, accounts
from landingzone.command import installation
from landingzone.command_line import AsJson, print_json
from landingzone.errors import UsageError

if TYPE_CHECKING:
    from processor.integrity import Finding
    from processor.recipients import PhoneNumber, Recipient

_WRITTEN_AT_ONCE = 10_000
_OF_STUDENT = ("student_id", "student_name", "school_id", "grade")
_OF_CONTACT = (
    "contact",
    "contact_id",
    "category",
    "first_name",
    "last_name",
    "alt_phone",
    "email",
    "alt_email",
    "language",
)

Several = list[str] | None


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(recipients)
    accounts.command("integrity")(integrity)


def recipients(
    context: typer.Context,
    account: AccountName,
    school: Annotated[Several, typer.Option(metavar="ID", help="Students of this school.")] = None,
    grade: Annotated[Several, typer.Option(metavar="GRADE", help="Students of this grade.")] = None,
    section: Annotated[
        Several, typer.Option(metavar="ID", help="Students in this section; with --school: of that school.")
    ] = None,
    course: Annotated[Several, typer.Option(metavar="NAME", help="Students in a class of this course.")] = None,
    period: Annotated[
        Several, typer.Option(metavar="PERIOD", help="Students in a class of this period, or absent in it.")
    ] = None,
    language: Annotated[Several, typer.Option(metavar="CODE", help="Contacts who speak this language.")] = None,
    absent_on: Annotated[
        str, typer.Option(metavar="DATE", help="Students absent on this day: 2026-01-31 or 01/31/2026.")
    ] = "",
    as_user: Annotated[
        str | None, typer.Option(metavar="USER", help="Only students in the sections of this teacher's user name.")
    ] = None,
    staff: Annotated[
        bool, typer.Option("--staff", help="Members of staff instead: of --school, --position, --language.")
    ] = False,
    position: Annotated[
        Several, typer.Option(metavar="POSITION", help="With --staff: of this position or title.")
    ] = None,
    merge_duplicates: Annotated[
        bool, typer.Option("--merge-duplicates", help="One entry for each phone number, its students together.")
    ] = False,
    count: Annotated[bool, typer.Option("--count", help="Print only how many.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print contacts, as CSV or JSON: the guardians of each student, or the student's own where there are none; with
    --staff the members of staff.

    An option given several times means any of these; different options must all hold.
    """
    from processor import account_data
    from processor import recipients as found

    of_students = (grade, section, course, period, absent_on, as_user)
    if staff and any(of_students):
        raise UsageError("--staff goes with --school, --position and --language only: the others are about students.")
    if position and not staff:
        raise UsageError("--position is about members of staff: say --staff, too.")
    here = installation(context)
    account_id = here.accounts.get(account).id
    audience: found.Audience | found.StaffAudience = found.Audience(
        schools=tuple(school or ()),
        grades=tuple(grade or ()),
        sections=tuple(section or ()),
        courses=tuple(course or ()),
        periods=tuple(period or ()),
        languages=tuple(language or ()),
        absent_on=_day(absent_on) if absent_on else None,
        as_user=as_user,
    )
    if staff:
        audience = found.StaffAudience(tuple(school or ()), tuple(position or ()), tuple(language or ()))
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        asked = (tx, here.catalogue, account_id, audience)
        if count:
            told = found.counts(*asked)
            print_json(told) if as_json else _print_counts(told)
        elif as_json:
            _print_json(map(_nested, found.phone_numbers(*asked)) if merge_duplicates else _dicts(asked))
        else:
            rows = map(_flat, found.phone_numbers(*asked)) if merge_duplicates else found.recipients(*asked)
            _print_csv(rows, found.Recipient._fields)


def integrity(
    context: typer.Context,
    account: AccountName,
    all_: Annotated[bool, typer.Option("--all", help="List every record, not only the first ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what does not fit together between an account's files now: missing partners, ids used twice."""
    from processor import account_data
    from processor import integrity as found

    here = installation(context)
    account_id = here.accounts.get(account).id
    account_data.ensure_tables(here.db, here.catalogue)
    with here.db.read() as tx:
        findings = list(found.findings(tx, here.catalogue, account_id, limit=None if all_ else found.SHOWN))
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    for finding in findings:
        _print_finding(finding)
    if not findings:
        typer.echo("Nothing is open.")


def _day(text: str) -> date:
    for form in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no time zone
        except ValueError:
            continue
    raise UsageError(f"{text!r} is not a day; write it as 2026-01-31 or 01/31/2026.")


def _print_counts(told: dict[str, int]) -> None:
    for name, value in told.items():
        typer.echo(f"{name.replace('_', ' '):15}{value:>12,}")


def _print_finding(finding: "Finding") -> None:
    typer.echo(f"{finding.code}: {finding.message}")
    for record in finding.records:
        typer.echo("    " + ", ".join(f"{name} {value}" for name, value in record.items()))
    if finding.records and finding.count > len(finding.records):
        typer.echo(f"    and {finding.count - len(finding.records):,} more (--all lists them)")


def _dicts(asked: Any) -> Iterator[dict[str, str]]:  # noqa: ANN401 - the arguments of processor.recipients
    from processor.recipients import recipients as found

    return (row._asdict() for row in found(*asked))


def _nested(number: "PhoneNumber") -> dict[str, Any]:
    """A phone number with its students and its contacts, each once."""
    return {
        "phone": number.phone,
        "students": _each_once(number.recipients, _OF_STUDENT),
        "contacts": _each_once(number.recipients, _OF_CONTACT),
    }


def _each_once(rows: "Iterable[Recipient]", names: tuple[str, ...]) -> list[dict[str, str]]:
    found = dict.fromkeys(tuple(getattr(row, name) for name in names) for row in rows)
    return [dict(zip(names, one, strict=True)) for one in found]


def _flat(number: "PhoneNumber") -> tuple[str, ...]:
    """A phone number as one line: in each column the values of all that it serves, each once."""
    return tuple("; ".join(filter(None, dict.fromkeys(column))) for column in zip(*number.recipients, strict=True))


def _print_json(records: Iterable[dict[str, Any]]) -> None:
    """Print a list, record by record: it may be long."""
    before = "["
    for record in records:
        typer.echo(f"{before}\n  {json.dumps(record, ensure_ascii=False)}", nl=False)
        before = ","
    typer.echo("[]" if before == "[" else "\n]")


def _print_csv(rows: Iterable[tuple[str, ...]], names: tuple[str, ...]) -> None:
    """Print rows as CSV that is safe to open in a spreadsheet, batch by batch."""
    import polars as pl

    from processor import spreadsheet

    schema = dict.fromkeys(names, pl.String)
    out = typer.get_binary_stream("stdout")
    out.write(b",".join(b'"%s"' % name.encode() for name in names) + b"\r\n")
    left = iter(rows)
    while batch := list(islice(left, _WRITTEN_AT_ONCE)):
        frame = spreadsheet.as_text(pl.DataFrame(batch, schema=schema, orient="row"))
        frame.write_csv(out, include_header=False, quote_style="always", line_terminator="\r\n")
