"""`landingzone doctor`: what is wrong, and what to do."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from landingzone.command import installation
from landingzone.command_line import AsJson, print_json
from landingzone.doctor.account import Facts, diagnose, explain
from landingzone.doctor.finding import Finding, Severity, examine, worst

SHOWN = 10
"""Attempts and runs of an account that are printed; --json has all that are kept."""
_MARKS = {Severity.OK: "ok     ", Severity.WARNING: "WARNING", Severity.PROBLEM: "PROBLEM"}


def mount(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="Explain this account's connections and files.")
    ] = None,
    thorough: Annotated[bool, typer.Option(help="Also read a large database through.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with this installation, or with one account, and what to do. Exits 1 if there is a problem."""
    from landingzone.doctor import account_facts, examination

    here = installation(context)
    if account is None:
        findings = examine(examination.checks(here, thorough=thorough))
        told: dict[str, Any] = {}
    else:
        facts = account_facts.facts_of(here, account)
        findings, told = diagnose(facts), _told(facts)
    bad = worst(findings) is Severity.PROBLEM
    if as_json:
        print_json({"healthy": not bad, "findings": [asdict(finding) for finding in findings], **told})
    else:
        _print_findings(findings)
        if account is not None and facts.known:
            _print_facts(facts)
    raise typer.Exit(1 if bad else 0)


# Printing


def _told(facts: Facts) -> dict[str, Any]:
    whole = asdict(facts)
    for attempt, told in zip(facts.attempts, whole["attempts"], strict=True):
        told["advice"] = asdict(explain(attempt, facts))
    return whole


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        typer.echo(f"{_MARKS[finding.severity]}  {finding.check}: {finding.found}")
        if finding.advice:
            typer.echo(f"         -> {finding.advice}")


def _print_facts(facts: Facts) -> None:
    typer.echo(f"\nKeys of {facts.account}")
    for key in facts.keys:
        used = f"used {key.last_used_at} from {key.last_used_from}" if key.last_used_at else "never used"
        until = f", until {key.expires_at}" if key.expires_at else ""
        where = f", from {', '.join(key.networks)} only" if key.networks else ""
        typer.echo(
            f"  {key.number}  {key.state}  {key.fingerprint} ({key.algorithm})  {key.label}  {used}{until}{where}"
        )
    typer.echo("\nRecent logins")
    for attempt in facts.attempts[:SHOWN]:
        times = f" ({attempt.times} times since {attempt.first_at})" if attempt.times > 1 else ""
        typer.echo(f"  {attempt.last_at}  {attempt.address}  {attempt.client or '?'}  {attempt.outcome}{times}")
        for offered in attempt.offered:
            typer.echo(f"    offered {offered.fingerprint} ({offered.algorithm})  {offered.refusal or 'opens'}")
        if attempt.algorithms:
            typer.echo(f"    agreed on {', '.join(attempt.algorithms.values())}")
    if not facts.attempts:
        typer.echo("  none is kept")
    typer.echo("\nExpected files")
    for source in facts.sources:
        last = (
            f"last {source.last_landed_at}: {source.last_outcome or 'under way'}"
            if source.last_landed_at
            else "never came"
        )
        due = f", due {source.due}" if source.due else ""
        typer.echo(f"  {source.pattern} ({source.feed}{due})  {last}")
    typer.echo("\nLast landings")
    for run in facts.runs[:SHOWN]:
        typer.echo(f"  {run.landed_at}  {run.file}  {run.outcome or run.state}  {run.id}")
    if not facts.runs:
        typer.echo("  none")
    for upload in facts.incomplete:
        typer.echo(f"  not landed: {upload.name}, {upload.bytes:,} bytes, {upload.age_seconds / 60:.0f} minutes ago")
