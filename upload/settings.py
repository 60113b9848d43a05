"""The settings: one TOML file, `landingzone-upload.toml`. No password ever stands in it."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from landingzone.kept_mapping import KeptMapping
from landingzone.landing import NameRefused, check_name
from upload.errors import SettingsError
from upload.folder import SETTINGS_NAME, Folder

_PASSWORD = re.compile(r"(?:^|;)\s*(?:pwd|password|pass|passwd)\s*=", re.IGNORECASE)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_HOST_KEY = re.compile(r"(?:\S+ )?(?:ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/]+=*(?: .*)?")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PLACE = re.compile(r"\{([^{}]*)\}")


def _keyring_entry(entry: str) -> str:
    """An entry of the keyring; raises ValueError."""
    if entry and not all(entry.partition("/")):
        raise ValueError("write service/user")
    return entry


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class ServerSettings(_Table):
    """The vendor's landing zone."""

    host: str = Field("", description="Its name or address, for SFTP.")
    port: int = Field(22, ge=1, le=65535, description="Its TCP port, for SFTP.")
    account: str = Field("", max_length=32, description="The account's name there, for SFTP.")
    key: str = Field("key", min_length=1, description='The private key: a path from this file\'s folder, or "agent".')
    host_keys: tuple[str, ...] = Field(
        (),
        description="Who the server may be: lines of known_hosts, or fingerprints (SHA256:...). Nobody else is.",
    )
    url: str = Field("", description="In place of host, where only port 443 is open: https://files.example.org.")
    token: str = Field("token", min_length=1, description="Over HTTPS: the file with the token, likewise.")
    token_env: str = Field("", description="Instead: the variable that holds the token.")
    token_keyring: str = Field("", description="Instead: the keyring's entry that holds it: service/user.")
    ca_file: str = Field(
        "", description="Over HTTPS: the authority of the server's certificate (PEM), if the system does not know it."
    )
    proxy: str = Field("", description="A way out: socks5://host:port or http://host:port; with user@ where it asks.")
    proxy_password_env: str = Field("", description="The variable that holds the proxy's password.")
    deadline: int = Field(60, ge=1, le=1440, description="Minutes within which a run delivers and gets its receipts.")
    compress: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether files are compressed (zstd) before they are sent; auto: where it is worth it."
    )

    @field_validator("host_keys")
    @classmethod
    def _known_form(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if not _FINGERPRINT.fullmatch(key) and not _HOST_KEY.fullmatch(key):
                raise ValueError(f"{key[:60]!r} is neither a fingerprint (SHA256:...) nor a line of known_hosts")
        return keys

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme != "https" or not parts.hostname):
            raise ValueError("write https://host")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("write https://host, without a user or anything behind it")
        return url

    @field_validator("token_keyring")
    @classmethod
    def _entry(cls, entry: str) -> str:
        return _keyring_entry(entry)

    @model_validator(mode="after")
    def _one_way(self) -> "ServerSettings":
        if bool(self.host) == bool(self.url):
            raise ValueError("needs one of host, for SFTP, and url, for HTTPS")
        for name in ("account", "host_keys") if self.host else ():
            if not getattr(self, name):
                raise ValueError(f"host needs {name} beside it")
        if self.token_env and self.token_keyring:
            raise ValueError("needs one of token_env and token_keyring, not both")
        return self

    @field_validator("proxy")
    @classmethod
    def _known_way(cls, proxy: str) -> str:
        if not proxy:
            return proxy
        url = urlsplit(proxy)
        if url.scheme not in {"socks5", "http"} or not url.hostname:
            raise ValueError("write socks5://host:port or http://host:port")
        if url.password is not None:
            raise ValueError("no password may stand here; name the variable that holds it in proxy_password_env")
        return proxy


class SourceSettings(_Table):
    """One file, view or sheet that is sent."""

    name: str = Field("", description="What it is called here; by default as its feed.")
    feed: str = Field(min_length=1, description="The kind of file that it becomes, such as students.")
    file: str = Field(
        "",
        description="A file, by its path from this file's folder. {date} stands for any date and * for anything in its "
        "name: the newest is taken. {school} makes one file of each.",
    )
    spreadsheet: str = Field("", description="A workbook, likewise.")
    sheet: str = Field("", description="The workbook's sheet; by default the first that has the feed's columns.")
    query: str = Field("", description="One SELECT, asked through ODBC.")
    view: str = Field("", description="A view or table, asked for whole through ODBC.")
    connection: str = Field("", description="ODBC: the name of a DSN, or a connection string without password.")
    password_env: str = Field("", description="The variable that holds the database's password.")
    password_keyring: str = Field("", description="The keyring's entry that holds it: service/user.")
    send_as: str = Field("", description="The file's name at the server; by default the feed's: students.csv.")
    mapping: dict[str, str] = Field(
        {}, description="Columns that bear other names: that name on the left, the feed's field on the right."
    )
    may_be_empty: bool = Field(False, description="Whether a file without rows is sent, such as absences of nobody.")
    wait_minutes: float = Field(
        10, ge=0, le=600, description="How long a file that is still being written is waited for."
    )

    @field_validator("connection")
    @classmethod
    def _without_password(cls, connection: str) -> str:
        if _PASSWORD.search(connection):
            raise ValueError(
                "no password may stand here; put it into a variable or the keyring, and name that in password_env or "
                "password_keyring"
            )
        return connection

    @field_validator("password_keyring")
    @classmethod
    def _entry(cls, entry: str) -> str:
        return _keyring_entry(entry)

    @model_validator(mode="after")
    def _one_origin(self) -> "SourceSettings":
        origins = [name for name in ("file", "spreadsheet", "query", "view") if getattr(self, name)]
        if len(origins) != 1:
            raise ValueError(f"needs exactly one of file, spreadsheet, query and view; has {_listed(origins)}")
        if bool(self.connection) != (origins[0] in {"query", "view"}):
            raise ValueError("connection and query (or view) stand together")
        if self.password_env and self.password_keyring:
            raise ValueError("needs one of password_env and password_keyring, not both")
        if self.sheet and not self.spreadsheet:
            raise ValueError("sheet stands beside spreadsheet only")
        return self

    @model_validator(mode="after")
    def _names(self) -> "SourceSettings":
        if not _NAME.fullmatch(self.called):
            raise ValueError("name: use lower case letters, digits, _ and -")
        places = {"school"} if "{school}" in (self.file or self.spreadsheet) else set[str]()
        if set(_PLACE.findall(self.sent_as)) != places:
            raise ValueError("send_as has {school} where the file's name has it, and no other {...}")
        try:
            check_name(self.sent_as)
        except NameRefused as refused:
            raise ValueError(f"send_as: {refused}") from None
        return self

    @property
    def called(self) -> str:
        """Its name, the default filled in."""
        return self.name or self.feed

    @property
    def sent_as(self) -> str:
        """The file's name at the server, the default filled in."""
        school = "_{school}" if "{school}" in (self.file or self.spreadsheet) else ""
        return self.send_as or f"{self.feed}{school}.csv"

    @property
    def kept_mapping(self) -> KeptMapping:
        """Its mapping, as the landing zone keeps one."""
        return KeptMapping(headers={field: name for name, field in self.mapping.items()})

    @property
    def is_query(self) -> bool:
        """Whether it comes from a database."""
        return bool(self.query or self.view)


class Settings(_Table):
    """The whole file."""

    server: ServerSettings = Field(description="The vendor's landing zone.")
    source: tuple[SourceSettings, ...] = Field((), description="What is sent, in this order.")
    feeds: dict[str, dict[str, Any]] = Field(
        {}, description="Feeds of the vendor's own, declared as the vendor declares them."
    )

    @model_validator(mode="after")
    def _told_apart(self) -> "Settings":
        for what in ("called", "sent_as"):
            seen: set[str] = set()
            for source in self.source:
                value = getattr(source, what).lower()
                if value in seen:
                    raise ValueError(f"two sources are {'sent as' if what == 'sent_as' else what} {value!r}")
                seen.add(value)
        return self

    def named(self, names: tuple[str, ...]) -> tuple[SourceSettings, ...]:
        """The sources of these names, in the order of the file; all if none is named. Raises SettingsError."""
        known = [source.called for source in self.source]
        for name in names:
            if name not in known:
                raise SettingsError(f"There is no source {name!r}{_nearest(name, known)} There are: {_listed(known)}.")
        if not known:
            raise SettingsError(f"{SETTINGS_NAME} has no [[source]]: say there what is to be sent.")
        return tuple(source for source in self.source if not names or source.called in names)


def load_settings(folder: Folder) -> Settings:
    """Read a folder's settings. Raises SettingsError, which says what is wrong and where."""
    try:
        text = folder.settings_file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(
            f"There is no {SETTINGS_NAME} in {folder.path}. Make one with `landingzone-upload init`, or name its "
            "folder with --folder."
        ) from None
    except (OSError, UnicodeDecodeError) as wrong:
        raise SettingsError(f"{folder.settings_file} cannot be read: {wrong}.") from None
    return parse_settings(text)


def parse_settings(text: str) -> Settings:
    """Settings of a text in TOML; raises SettingsError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise SettingsError(f"{SETTINGS_NAME}: {wrong}. In paths write / or '...' instead of \\.") from None
    if unknown := next(_unknown(Settings, table, ""), None):
        raise SettingsError(f"{SETTINGS_NAME}: {unknown}")
    try:
        return Settings.model_validate(table)
    except ValidationError as wrong:
        told = "; ".join(_told(error["loc"], error["msg"], table) for error in wrong.errors(include_input=False))
        raise SettingsError(f"{SETTINGS_NAME}: {told}.") from None


def _told(place: tuple[int | str, ...], message: str, table: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in place if not isinstance(part, int))
    numbers = [part for part in place if isinstance(part, int)]
    if numbers and place[0] == "source":
        source = table["source"][numbers[0]]
        name = (source.get("name") or source.get("feed")) if isinstance(source, dict) else None
        where += f" of {name or f'the source number {numbers[0] + 1}'}"
    return f"{where + ': ' if where else ''}{message.removeprefix('Value error, ').rstrip('.')}"


def _unknown(model: type[BaseModel], table: Mapping[str, Any], where: str) -> Iterator[str]:
    """Keys that nobody reads: each with the nearest that somebody does."""
    for name, value in table.items():
        info = model.model_fields.get(name)
        if info is None:
            yield f"{where}{name} is not known{_nearest(name, list(model.model_fields))}"
            continue
        for inner in _tables_of(info.annotation):
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict):
                    yield from _unknown(inner, one, f"[{name}] ")


def _tables_of(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - a type, of any kind
    if get_origin(annotation) is Annotated or get_origin(annotation) is tuple:
        for inner in get_args(annotation):
            yield from _tables_of(inner)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {near[0]}?" if near else "."


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def resolved(folder: Folder, path: str) -> Path:
    """A path of the settings, seen from their folder; `~` is the user's home."""
    return folder.path / Path(path).expanduser()
