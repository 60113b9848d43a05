"""`landingzone-upload schedule ...`: when uploads run by themselves."""

import sys
from typing import Annotated

import typer

from upload.command import Setup, setup
from upload.schedule import Schedule, times_of
from upload.scheduler import Kind, scheduler

schedule = typer.Typer(help="When uploads run by themselves.", no_args_is_help=True)

KindOption = Annotated[
    Kind | None, typer.Option(help="Of which scheduler; by default the machine's own.", show_default=False)
]


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(schedule, name="schedule")


@schedule.command()
def install(
    context: typer.Context,
    at: Annotated[list[str], typer.Option(help="A time of the day, like 05:30; may be given several times.")],
    every_day: Annotated[bool, typer.Option("--every-day", help="Also on Saturdays and Sundays.")] = False,
    kind: KindOption = None,
    show_only: Annotated[bool, typer.Option("--show-only", help="Write nothing; show what would be.")] = False,
) -> None:
    """Have `run` called at these times, in place of what was scheduled before; prints what is written."""
    here = setup(context)
    _ = here.settings
    chosen = scheduler(kind, here.folder)
    wanted = Schedule(times_of(at), every_day, _command(here))
    for where, text in chosen.texts(wanted).items():
        typer.echo(f"{where}:\n{text}")
    if show_only:
        return
    left = chosen.install(wanted)
    _tell_left(left)
    typer.echo(f"Uploads run {wanted.said}." if not left else f"Then uploads run {wanted.said}.")


@schedule.command()
def show(context: typer.Context, kind: KindOption = None) -> None:
    """Show what is scheduled."""
    found = scheduler(kind, setup(context).folder).installed()
    for where, text in found.items():
        typer.echo(f"{where}:\n{text}")
    if not found:
        typer.echo("Nothing is scheduled. `landingzone-upload schedule install --at 05:30` does it.")


@schedule.command()
def remove(context: typer.Context, kind: KindOption = None) -> None:
    """Schedule nothing any more."""
    chosen = scheduler(kind, setup(context).folder)
    if not chosen.installed():
        typer.echo("Nothing is scheduled.")
        return
    _tell_left(chosen.remove())
    typer.echo("Uploads no longer run by themselves.")


def _tell_left(commands: list[str]) -> None:
    if commands:
        typer.echo("Run this, too:")
        for command in commands:
            typer.echo(f"  {command}")


def _command(here: Setup) -> tuple[str, ...]:
    return (sys.executable, "-m", "upload.cli", "--folder", str(here.folder.path), "run")
