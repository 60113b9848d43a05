"""Settings: `landingzone.toml` under the root, overridden by LANDINGZONE_* variables, overridden by the command line.

Built once in main and passed in. A nested setting's variable joins the names with two underscores:
`[door] port = 2222` is LANDINGZONE_DOOR__PORT=2222.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from landingzone.address import is_within
from landingzone.errors import LandingZoneError

ENV_PREFIX = "LANDINGZONE_"
FILE_NAME = "landingzone.toml"
DEFAULT_ROOT = Path("/var/lib/landingzone")


class SettingsError(LandingZoneError):
    """A setting is not usable."""

    exit_code = 2


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    """Networks in CIDR notation, as they are compared; raises ValueError for what is none."""
    return tuple(str(ip_network(network.strip())) for network in given)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DoorSettings(_Section):
    """The front door."""

    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - a front door faces outside
    port: int = Field(2222, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    legacy_port: int = Field(
        0, ge=0, le=65535, description="Second port, for old systems: SHA-1, CBC, NIST's curves. 0: there is none."
    )
    share_port: bool = Field(
        False, description="Let several front doors of this host listen on the same port; the system spreads clients."
    )
    proxy_networks: tuple[str, ...] = Field(
        (),
        description="TCP balancers' networks (CIDR): connections from there must begin with a PROXY header, v1 or v2.",
    )
    login_seconds: float = Field(30, gt=0, description="Time a client has to log in.")
    keepalive_seconds: float = Field(30, gt=0, description="Interval of keepalive messages to a silent client.")
    resume_hours: float = Field(6, gt=0, description="How long a cut upload can be resumed.")
    settle_seconds: float = Field(10, ge=0, description="How long a file with an unexpected name waits for a rename.")
    remember_minutes: float = Field(10, gt=0, description="How long the view still shows what has landed.")
    read_back: bool = Field(True, description="Whether an account may read what it has sent and what still waits.")
    delete: bool = Field(True, description="Whether an account may take back what still waits.")
    mkdir: Literal["refuse", "ignore"] = Field(
        "refuse",
        description="What becomes of a request to make a folder; `ignore`: it seems to work, for old programs.",
    )
    drain_seconds: float = Field(30, ge=0, description="How long a stopping server lets uploads under way finish.")

    @field_validator("proxy_networks")
    @classmethod
    def _networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return _networks(given)

    def is_balancer(self, address: str) -> bool:
        """Whether a connection from that address comes through a balancer, which says whose it is."""
        return is_within(address, self.proxy_networks)


class LimitSettings(_Section):
    """What one client, one address, one account may take of the front door; of each process of it."""

    unauthenticated: int = Field(500, ge=1, description="Connections that have not logged in yet, in all.")
    unauthenticated_per_address: int = Field(
        100, ge=1, description="Connections that have not logged in yet, of one address (IPv6: one /64 network)."
    )
    keys_per_connection: int = Field(10, ge=1, description="Keys that a client may offer in vain before it has to go.")
    login_failures_per_address: int = Field(
        60, ge=1, description="Failed logins of an address, within `failure_minutes`, that bring it a penalty."
    )
    login_failures_per_address_and_account: int = Field(
        20, ge=1, description="Failed logins of an address at one account that bring it a penalty there."
    )
    failure_minutes: float = Field(10, gt=0, description="Time within which failed logins are counted.")
    penalty_seconds: float = Field(30, gt=0, description="Length of a first penalty; each is twice the one before.")
    penalty_most_minutes: float = Field(60, gt=0, description="Length of the longest penalty.")
    exempt_networks: tuple[str, ...] = Field(
        (), description="Networks without penalties and limits per address, such as a load balancer's (CIDR)."
    )
    sessions: int = Field(1000, ge=1, description="Sessions in all.")
    sessions_per_account: int = Field(50, ge=1, description="Sessions of one account.")
    idle_minutes: float = Field(30, gt=0, description="How long a session may ask for nothing.")
    handles_per_session: int = Field(128, ge=1, le=10_000, description="Files, and folders, open at once in a session.")
    file_mebibytes: int = Field(10_240, ge=1, description="The largest file.")
    waiting_files: int = Field(5000, ge=1, description="Files of one account that arrive or wait for the import.")
    waiting_mebibytes: int = Field(51_200, ge=1, description="What they may take together.")
    queue_files: int = Field(
        200_000,
        ge=0,
        description="Files of all accounts that wait for the import; then new ones are refused. 0: no limit.",
    )
    free_mebibytes: int = Field(
        256, ge=0, description="Disk space that uploads leave free; new ones are refused from a quarter more on."
    )
    upload_mebibytes_per_second: float = Field(
        0, ge=0, description="Upload rate of one account, over all its sessions; 0: as fast as it goes."
    )

    @field_validator("exempt_networks")
    @classmethod
    def _networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return _networks(given)


class ProcessorSettings(_Section):
    """The import step."""

    workers: int = Field(4, ge=1, le=64, description="Runs that go side by side (of different accounts).")
    rescan_seconds: float = Field(15, gt=0, description="Interval of the full scan of the inboxes.")
    poll_seconds: float = Field(
        0.5, gt=0, description="Interval at which is looked what other processors have put into the queue of runs."
    )
    progress_seconds: float = Field(
        0.5, ge=0, description="How far a run is before its outcome is written down no more often than this."
    )
    beat_seconds: float = Field(
        2,
        gt=0,
        le=10,
        description="Interval of a processor's heartbeat. One that misses six is dead, and others take its runs over.",
    )
    watch: Literal["native", "polling"] = Field(
        "native", description="How new files are noticed: the system's events, or polling on network filesystems."
    )
    stable_seconds: float = Field(5, ge=0, description="How long a file dropped in by hand must keep its size.")
    large_mebibytes: int = Field(
        8, ge=0, description="Files from this size on are compared while they are read, so that memory does not grow."
    )
    receipt_days: int = Field(30, ge=1, description="How long receipts stay in the customer's view.")


class ArchiveSettings(_Section):
    """Where the files that came are kept, and for whom they are encrypted.

    The credentials of object storage are not settings: they come from the environment (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or from the machine's role.
    """

    url: Annotated[str, Field(pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]{1}(/[A-Za-z0-9._/-]*)?)?$")] = Field(
        "", description="`s3://bucket/prefix` for object storage; empty: archive/ under the root."
    )
    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s@]+)?$")] = Field(
        "", description="URL of an S3-compatible server; empty: Amazon's."
    )
    region: str = Field("us-east-1", min_length=1, description="Region of the bucket.")
    age_recipients: tuple[str, ...] = Field(
        (), description="Whoever shall be able to read it (`age1...`, or SSH public keys); empty: not encrypted."
    )
    age_identity: str = Field(
        "", description="File of the identity that opens it: for approvals, rejections, retries and reverts only."
    )


class RetentionSettings(_Section):
    """How long what is no longer needed is kept; 0: for ever. See also `receipt_days` under [processor]."""

    at: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = Field(
        "21:30", description="Time of day (UTC) at which old things are removed: not while the night's files come."
    )
    archive_days: int = Field(
        400, ge=0, description="Files in the archive: a school year and a summer. The newest of each source stays."
    )
    deactivated_days: int = Field(
        400,
        ge=0,
        description="Rows that are deactivated; at least as long as the archive, so that a run can be undone.",
    )
    login_days: int = Field(90, ge=0, description="Login attempts, refused logins, penalties that are over.")

    @model_validator(mode="after")
    def _rows_outlive_archives(self) -> "RetentionSettings":
        if self.deactivated_days and not 0 < self.archive_days <= self.deactivated_days:
            raise ValueError("deactivated_days must be at least archive_days, or 0")
        return self


class GuardSettings(_Section):
    """When a run is held for an operator instead of being applied."""

    deactivate_share: float = Field(0.10, gt=0, le=1, description="Share of a source's rows that may go at once.")
    deactivate_from_rows: int = Field(20, ge=1, description="Rows from which that share counts; below, half may go.")
    reject_share: float = Field(0.20, gt=0, le=1, description="Share of a file's rows that may be rejected.")
    reject_from_rows: int = Field(10, ge=1, description="Rows from which that share counts.")
    few_rows_share: float = Field(
        0.75,
        gt=0,
        le=1,
        description="Fewer rows than this share of the last file's are far fewer: a sign of truncation.",
    )
    contacts_share: float = Field(
        0.25, gt=0, le=1, description="Share of a source's phones, or e-mails, that may change at once."
    )
    contacts_from_rows: int = Field(20, ge=1, description="Rows from which that share counts.")
    shared_phone: int = Field(
        25, ge=2, description="Records that one phone number may serve, unless it has served half as many before."
    )


class ArrivalSettings(_Section):
    """The watch over files that are due."""

    due: Literal["learned", "none"] = Field(
        "learned",
        description="By when a source is due that has no time of its own: learned from its last weeks, or not.",
    )
    watch_seconds: float = Field(60, gt=0, description="Interval at which it is looked what has become late.")
    broadcast_minutes: float = Field(
        30, ge=0, description="How long before a broadcast it is told that something for it is not in."
    )


class NotifySettings(_Section):
    """Who is told by webhook and e-mail what is late, held, failed, rejected or has an unknown name."""

    webhook_urls: tuple[str, ...] = Field((), description="Where webhooks go (Standard Webhooks), https only.")
    webhook_secret: str = Field(
        "", repr=False, description="What signs them: whsec_ and base64 of 24 to 64 bytes. Never printed."
    )
    webhook_secret_file: str = Field("", description="A file that holds it, instead.")
    private_addresses: bool = Field(
        False, description="Whether webhooks may go to addresses that are not public; then also by http."
    )
    smtp_host: str = Field("", description="The mail server; empty: no mail.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its TCP port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the way to it is secured; `none` for one on this machine."
    )
    smtp_user: str = Field("", description="Who logs in there; empty: nobody.")
    smtp_password: str = Field("", repr=False, description="With what. Never printed.")
    smtp_password_file: str = Field("", description="A file that holds it, instead.")
    email_from: str = Field("", description="The sender of mails.")
    email_to: tuple[str, ...] = Field((), description="The operator's addresses; an account's: `accounts notify`.")
    send_seconds: float = Field(15, gt=0, description="Interval at which it is looked what is to be sent.")
    digest_seconds: float = Field(
        60, ge=0, description="How long a mail waits for what else happens, so that one tells it all."
    )

    @field_validator("webhook_urls")
    @classmethod
    def _urls(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for url in given:
            parts = urlsplit(url)
            if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username or not url.isascii():
                raise ValueError("write https://host/path, without a user name")
        return given

    @model_validator(mode="after")
    def _whole(self) -> "NotifySettings":
        if self.webhook_urls and not (self.webhook_secret or self.webhook_secret_file):
            raise ValueError("webhook_urls need a webhook_secret, or a webhook_secret_file")
        if not self.private_addresses and any(urlsplit(url).scheme != "https" for url in self.webhook_urls):
            raise ValueError("webhook_urls must begin with https://, unless private_addresses is true")
        if self.smtp_host and "@" not in self.email_from:
            raise ValueError("smtp_host needs an email_from")
        if self.smtp_user and self.smtp_security == "none":
            raise ValueError("smtp_user needs smtp_security starttls or tls: a password never goes in the clear")
        return self


class LogSettings(_Section):
    """Logging."""

    format: Literal["auto", "json", "console"] = Field("auto", description="`auto`: readable on a terminal, else JSON.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level that is written.")


class StatusSettings(_Section):
    """Metrics, health and readiness, over HTTP."""

    enabled: bool = Field(False, description="Serve /metrics, /healthz and /readyz.")
    host: str = Field("127.0.0.1", description="Address to serve them on. There is no password: keep it on loopback.")
    door_port: int = Field(9722, ge=0, le=65535, description="TCP port of the front door's; 0 takes a free one.")
    processor_port: int = Field(9723, ge=0, le=65535, description="TCP port of the import's; 0 takes a free one.")
    console_port: int = Field(9721, ge=0, le=65535, description="TCP port of the console's; 0 takes a free one.")
    refresh_seconds: float = Field(
        5,
        gt=0,
        description="Interval at which disk, database and queue are looked at; asking more often costs nothing.",
    )
    stalled_seconds: float = Field(
        120, gt=0, description="A part whose main loop has not turned for so long is not healthy, and is restarted."
    )


class ConsoleSettings(_Section):
    """The console: web pages, the HTTP API, and uploads over HTTPS."""

    host: str = Field("127.0.0.1", description="Address to listen on. Let others in only with TLS, here or in front.")
    port: int = Field(8443, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    public_url: str = Field(
        "", description="What people type to get here, like https://files.example.org; empty: host and port."
    )
    tls_certificate: str = Field(
        "", description="PEM file with the certificate and its chain; without it a reverse proxy has to speak TLS."
    )
    tls_key: str = Field("", description="PEM file with the certificate's private key.")
    proxy_networks: tuple[str, ...] = Field(
        (), description="Reverse proxies' networks (CIDR): of those, X-Forwarded-For and X-Forwarded-Proto count."
    )
    session_hours: float = Field(12, gt=0, description="How long a session lasts at most.")
    idle_minutes: float = Field(60, gt=0, description="How long a session lasts without a request.")
    invitation_hours: float = Field(72, gt=0, description="How long the link of an invitation opens.")
    second_factor: bool = Field(True, description="Whether local users need a one-time code beside the password.")
    requests_per_minute: int = Field(600, ge=1, description="Requests of one address in a minute, beside uploads.")
    send_mebibytes: int = Field(
        100, ge=1, description="The largest file that people send by hand; larger ones come by SFTP or a program."
    )
    oidc_issuer: str = Field("", description="OpenID Connect provider, like https://login.example.org; empty: none.")
    oidc_client_id: str = Field("", description="What the console is called there.")
    oidc_client_secret: str = Field("", description="Its secret there; best given as a variable.")
    oidc_only: bool = Field(False, description="Whether nobody signs in with a password.")

    @field_validator("proxy_networks")
    @classmethod
    def _networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        return _networks(given)

    @model_validator(mode="after")
    def _whole(self) -> "ConsoleSettings":
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key belong together")
        if self.public_url and not self.public_url.startswith(("https://", "http://localhost", "http://127.0.0.1")):
            raise ValueError("public_url begins with https://: passwords and children's data go this way")
        if bool(self.oidc_issuer) != bool(self.oidc_client_id):
            raise ValueError("oidc_issuer and oidc_client_id belong together")
        if self.oidc_only and not self.oidc_issuer:
            raise ValueError("oidc_only needs oidc_issuer")
        return self


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    root: Path = Field(DEFAULT_ROOT, description="The zone's root folder: one folder on one filesystem.")
    database_url: str = Field("", description="SQLAlchemy URL of the database; empty: SQLite under the root.")
    node: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        "node-1", description="Stable name of this process; a restarted one takes up what it left."
    )
    reserve_mebibytes: int = Field(
        16, ge=0, description="Disk space kept back, so that a full disk can still be recorded and recovered from."
    )
    door: DoorSettings = DoorSettings()
    limits: LimitSettings = LimitSettings()
    processor: ProcessorSettings = ProcessorSettings()
    archive: ArchiveSettings = ArchiveSettings()
    retention: RetentionSettings = RetentionSettings()
    guards: GuardSettings = GuardSettings()
    arrivals: ArrivalSettings = ArrivalSettings()
    notify: NotifySettings = NotifySettings()
    log: LogSettings = LogSettings()
    status: StatusSettings = StatusSettings()
    console: ConsoleSettings = ConsoleSettings()
    feeds: dict[str, dict[str, Any]] = Field(
        {}, description="The operator's own feeds, declared like the built-in ones."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line, then the environment, then the file under the root."""
        given = init_settings()
        root = Path(given.get("root") or env_settings().get("root") or DEFAULT_ROOT)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, root / FILE_NAME)

    @property
    def url(self) -> str:
        """The database's SQLAlchemy URL, with the default filled in."""
        return self.database_url or f"sqlite:///{self.root.absolute() / 'landingzone.db'}"

    @property
    def workflows_url(self) -> str:
        """Where durable runs keep their steps: the same server, or a file of its own beside the SQLite database."""
        return self.database_url or f"sqlite:///{self.root.absolute() / 'workflows.db'}"


def load_settings(*, root: Path | None = None, **given: Any) -> Settings:  # noqa: ANN401 - passed to pydantic, which checks
    """Settings from all their places. Raises SettingsError, naming the setting and what it may be."""
    if root is not None:
        given["root"] = root
    try:
        settings = Settings(**given)
    except ValidationError as wrong:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong.errors(include_input=False))
        raise SettingsError(f"Settings: {told}.") from None
    except (tomllib.TOMLDecodeError, OSError) as wrong:
        raise SettingsError(f"{FILE_NAME}: {wrong}") from None
    return settings.model_copy(update={"root": settings.root.absolute()})


@dataclass(frozen=True)
class Setting:
    """One setting with its value and the place that it came from."""

    name: str
    value: Any
    origin: str
    description: str


def explain(settings: Settings, *, given: Mapping[str, Any] | None = None) -> Iterator[Setting]:
    """Every setting with its origin: `command line`, a variable's name, the file, or `default`."""
    path = settings.root / FILE_NAME
    file = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name, info in Settings.model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, _Section):
            section = file.get(name, {})
            for inner, inner_info in type(value).model_fields.items():
                variable = f"{ENV_PREFIX}{name}__{inner}".upper()
                origin = _origin(variable, inner in section, given=False)
                shown = _without_secret(inner, getattr(value, inner))
                yield Setting(f"{name}.{inner}", shown, origin, inner_info.description or "")
        else:
            origin = _origin(f"{ENV_PREFIX}{name}".upper(), name in file, given=name in (given or {}))
            shown = _without_password(value) if name == "database_url" else list(value) if name == "feeds" else value
            yield Setting(name, shown, origin, info.description or "")


def _origin(variable: str, in_file: bool, *, given: bool) -> str:
    if given:
        return "command line"
    if variable in {name.upper() for name in os.environ}:
        return variable
    return FILE_NAME if in_file else "default"


def _without_secret(name: str, value: Any) -> Any:  # noqa: ANN401 - any setting
    """A setting's value as it may be printed: no secret, and of a webhook's URL, which often holds one, the host."""
    if name in {"webhook_secret", "smtp_password", "oidc_client_secret"}:
        return "(set)" if value else ""
    if name == "webhook_urls":
        return [f"{urlsplit(url).scheme}://{urlsplit(url).netloc}/..." for url in value]
    return value


def _without_password(url: str) -> str:
    if not url:
        return url
    from sqlalchemy import make_url  # noqa: PLC0415 - only where a URL is set

    return make_url(url).render_as_string(hide_password=True)
