"""`landingzone-upload check`: what the landing zone would say, before anything is sent."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landingzone.command_line import AsJson, print_json
from landingzone.errors import LandingZoneError
from upload.command import Setup, setup
from upload.outcome import Ending, worst

if TYPE_CHECKING:
    from upload.preparation import Prepared
    from upload.settings import SourceSettings

_SHOWN = 20

SendAnyway = Annotated[
    bool, typer.Option("--send-anyway", help="Send a file that looks broken: empty, cut off, half the usual rows.")
]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(check)


def check(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Only these sources.")] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Write the rows that would be rejected into this folder, one CSV a source.")
    ] = None,
    send_anyway: SendAnyway = False,
    as_json: AsJson = False,
) -> None:
    """Extract and look at each source by the landing zone's own rules: what it would reject, and what is new since the
    last upload. Sends nothing. Exit code: 0, or 22 if a file should not be sent, 20 if one cannot be extracted.
    """
    here = setup(context)
    told: list[dict[str, Any]] = []
    endings: list[Ending] = []
    for source in here.settings.named(tuple(names or ())):
        for one, ending in _look(here, source, rejects, send_anyway=send_anyway):
            told.append(one)
            endings.append(ending)
            if not as_json:
                typer.echo("\n".join(as_lines(one)))
    if as_json:
        print_json(told)
    raise typer.Exit(worst(endings))


def _look(
    here: Setup, source: "SourceSettings", rejects: Path | None, *, send_anyway: bool
) -> Iterator[tuple[dict[str, Any], Ending]]:
    from upload.errors import SettingsError
    from upload.preparation import prepare

    try:
        for prepared in prepare(here, source, with_rejects=rejects is not None):
            try:
                saved = _save_rejects(prepared, rejects)
                refused = bool(prepared.refusal) and not send_anyway
                yield as_dict(prepared, rejects=saved), Ending.REFUSED if refused else Ending.IMPORTED
            finally:
                prepared.discard()
    except SettingsError:
        raise
    except LandingZoneError as wrong:
        yield {"source": source.called, "feed": source.feed, "error": str(wrong)}, Ending(wrong.exit_code)


def _save_rejects(prepared: "Prepared", folder: Path | None) -> Path | None:
    if folder is None or prepared.rejects is None:
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{prepared.key}.rejects.csv"
    path.unlink(missing_ok=True)
    shutil.move(prepared.rejects, path)
    path.chmod(0o600)
    return path


def as_dict(prepared: "Prepared", *, rejects: Path | None = None) -> dict[str, Any]:
    """What the look has found, as JSON values; without the rejected values themselves, which are personal data."""
    found, outgoing = prepared.found, prepared.outgoing
    return {
        "source": outgoing.source,
        "feed": outgoing.feed,
        "origin": prepared.origin,
        "file": outgoing.name,
        "bytes": outgoing.bytes,
        "sha256": outgoing.sha256,
        "as_it_is": prepared.as_it_is,
        "rows": {
            "read": found.read if found else 0,
            "accepted": found.read - found.rejected if found else 0,
            "rejected": found.rejected if found else 0,
        },
        "rejects": [
            {name: one[name] for name in ("line", "field", "code", "message")}
            for one in (found.rejects if found else ())
        ],
        "reject_counts": found.reject_counts if found else {},
        "reject_file": str(rejects) if rejects else None,
        "warnings": list(found.warnings) if found else [],
        "since": prepared.before.when if prepared.before else None,
        "changes": {
            feed: {"added": one.added, "changed": one.changed, "gone": one.gone, "unchanged": one.same}
            for feed, one in prepared.differences.items()
        },
        "remarks": list(prepared.remarks),
        "refusal": prepared.refusal or None,
    }


def as_lines(told: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    if "error" in told:
        yield f"{told['source']}: cannot be sent. {told['error']}"
        return
    rows = told["rows"]
    yield (
        f"{told['source']}: {rows['read']:,} rows for {told['file']}, {rows['accepted']:,} usable, "
        f"{rows['rejected']:,} would be rejected."
    )
    for feed, one in told["changes"].items():
        yield (
            f"  Since the last upload ({told['since'][:16].replace('T', ' ')} UTC), {feed}: {one['added']:,} new, "
            f"{one['changed']:,} changed, {one['gone']:,} gone, {one['unchanged']:,} as before."
        )
    for reject in told["rejects"][:_SHOWN]:
        where = f"line {reject['line']}" + (f", {reject['field']}" if reject["field"] else "")
        yield f"  {where}: {reject['message']} [{reject['code']}]"
    if rows["rejected"] > _SHOWN and told["rejects"]:
        yield f"  ... and {rows['rejected'] - min(_SHOWN, len(told['rejects'])):,} more."
    if told["reject_file"]:
        yield f"  The rejected rows: {told['reject_file']}"
    for warning in told["warnings"]:
        field = f"{warning['field']}: " if warning["field"] else ""
        yield f"  {warning['count']:,} times, {field}{warning['message']} [{warning['code']}]"
    for remark in told["remarks"]:
        yield f"  {remark}"
    if told["refusal"]:
        yield f"  It should not be sent: {told['refusal']} To send it all the same, say --send-anyway."
