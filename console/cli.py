"""`landingzone console`, and `landingzone users ...`: who may sign in to it."""

from typing import TYPE_CHECKING, Annotated

import typer

from landingzone import audit
from landingzone.command import Installation, installation, print_listing
from landingzone.command_line import AsJson
from landingzone.errors import LandingZoneError, UsageError

if TYPE_CHECKING:
    from console.users import Users

users = typer.Typer(help="Who may sign in to the console.", no_args_is_help=True)

UserName = Annotated[str, typer.Argument(metavar="USER", help="The user's name, best the e-mail address.")]


class ConsoleMissing(LandingZoneError):
    """The console is not installed: pip install 'landingzone[server,console]'."""


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(console)
    app.add_typer(users, name="users")


def console(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.", show_default=False)] = None,
    node: Annotated[str | None, typer.Option(help="Stable name of this process.", show_default=False)] = None,
) -> None:
    """Serve the console alone: web pages, the HTTP API, uploads over HTTPS, until SIGTERM."""
    from landingzone import log
    from landingzone.metrics import Metrics, Part

    _require()
    from console.server import serve

    here = installation(context).with_given(node=node, console={"host": host, "port": port})
    here.db.migrate()
    metrics = Metrics(Part.CONSOLE)
    log.configure(here.settings.log, service="console", node=here.settings.node, note=metrics.note)
    serve(here, metrics)


@users.command()
def add(
    context: typer.Context,
    user: UserName,
    role: Annotated[str, typer.Option(help="operator, viewer, or district.")],
    account: Annotated[str | None, typer.Option(help="Whose staff it is, for the role district.")] = None,
    full_name: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Add a user, and print the one-time link by which a password and a second factor are set."""
    _require()
    from console.role import Role

    if role not in list(Role):
        raise UsageError(f"There is no role {role!r}; there are {', '.join(Role)}.")
    here = installation(context)
    made = _users(here).add(user, Role(role), account=account, full_name=full_name, actor=audit.operator())
    _invite(here, made.name)


@users.command()
def invite(context: typer.Context, user: UserName) -> None:
    """Print a new link for a user, as for a lost phone or a forgotten password."""
    _require()
    _invite(installation(context), user)


@users.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="Only this account's staff.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the users."""
    _require()
    columns = {
        "name": "USER",
        "role": "ROLE",
        "account": "ACCOUNT",
        "full_name": "NAME",
        "has_password": "PASSWORD",
        "last_seen_at": "LAST SEEN",
        "disabled_at": "DISABLED",
    }
    empty = "No users yet. Add one: landingzone users add USER --role operator"
    print_listing(_users(installation(context)).all(account=account), columns, as_json=as_json, empty=empty)


@users.command()
def disable(context: typer.Context, user: UserName) -> None:
    """Shut a user out, at once: sessions, tokens and links with it."""
    _require()
    done = _users(installation(context)).set_enabled(user, enabled=False, actor=audit.operator())
    typer.echo(f"{done.name} is disabled.")


@users.command()
def enable(context: typer.Context, user: UserName) -> None:
    """Let a user in again."""
    _require()
    done = _users(installation(context)).set_enabled(user, enabled=True, actor=audit.operator())
    typer.echo(f"{done.name} is enabled.")


def _users(here: Installation) -> "Users":
    from console.password import Passwords
    from console.users import Users

    return Users(here.db, Passwords())


def _invite(here: Installation, name: str) -> None:
    settings = here.settings.console
    secret = _users(here).invite(name, hours=settings.invitation_hours, actor=audit.operator())
    scheme = "https" if settings.tls_certificate else "http"
    base = settings.public_url.rstrip("/") or f"{scheme}://{settings.host}:{settings.port}"
    typer.echo(f"Send this link to {name}. It works once, within {settings.invitation_hours:g} hours:")
    typer.echo(f"{base}/invitation/{secret}")


def _require() -> None:
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("fastapi", "uvicorn", "jinja2", "argon2", "pyotp", "segno")):
        raise ConsoleMissing
