"""The doctor for one account: what is seen of its connections, keys and files, told with what to do. Pure."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from landingzone.doctor.advice import ADVICE, LEFT_AFTER_GREETING, UNKNOWN, Advice
from landingzone.doctor.finding import Finding, Severity
from landingzone.login_attempt import OPENED, LoginAttempt

_NOTHING_SAID = "nothing_said"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key of the account: `opens` says whether it does at this moment, `state` what it is."""

    number: int
    label: str
    fingerprint: str
    algorithm: str
    state: str
    opens: bool
    networks: tuple[str, ...]
    expires_at: str | None
    last_used_at: str | None
    last_used_from: str | None
    last_used_client: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is expected of the account, and its last run; times are UTC, ISO 8601."""

    name: str
    pattern: str
    feed: str
    due: str
    last_outcome: str | None
    last_landed_at: str | None


@dataclass(frozen=True, slots=True)
class PastRun:
    """The newest attempt of a file that has landed; `why` is the receipt's hold or message."""

    id: str
    file: str
    source: str | None
    outcome: str | None
    state: str
    landed_at: str
    why: str


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A file that has not landed: still open or cut (`closed` is false), or under a name that nobody expects."""

    name: str
    bytes: int
    age_seconds: float
    closed: bool
    temporary: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of an account.

    Attributes:
        account: the name that was asked for.
        known: whether there is such an account; enabled: whether its keys open.
        other_accounts: the names of all accounts.
        attempts: recent login attempts, newest first.
        keys: its keys.
        key_opens: fingerprint -> accounts that it opens, for every key that was offered.
        penalties: addresses that have to wait, with until when.
        sources: what is expected.
        runs: of the newest landings, newest first.
        waiting: names of files in the inbox.
        incomplete: what has not landed.
        resume_hours: how long a cut upload can be resumed.
    """

    account: str
    known: bool
    enabled: bool = True
    other_accounts: Sequence[str] = ()
    attempts: Sequence[LoginAttempt] = ()
    keys: Sequence[KnownKey] = ()
    key_opens: dict[str, list[str]] | None = None
    penalties: Sequence[tuple[str, str]] = ()
    sources: Sequence[Source] = ()
    runs: Sequence[PastRun] = ()
    waiting: Sequence[str] = ()
    incomplete: Sequence[Incomplete] = ()
    resume_hours: float = 6


def diagnose(facts: Facts) -> list[Finding]:
    """What stands between the account and its data, the nearest to the front door first."""
    if not facts.known:
        return [_unknown(facts)]
    return [*_door(facts), *_files(facts)] or [Finding("account", Severity.OK, "Nothing stands in this account's way.")]


def explain(attempt: LoginAttempt, facts: Facts) -> Advice:
    """What an attempt came to, and what to ask the customer to do, with the names that belong here."""
    left = attempt.outcome == _NOTHING_SAID and attempt.client
    advice = LEFT_AFTER_GREETING if left else ADVICE.get(attempt.outcome, UNKNOWN)
    fill = {"ACCOUNT": facts.account, "ADDRESS": attempt.address}
    said = {name: _filled(getattr(advice, name), fill) for name in ("meaning", "ask", "do")}
    elsewhere = sorted({name for key in attempt.offered for name in (facts.key_opens or {}).get(key.fingerprint, [])})
    elsewhere = [name for name in elsewhere if name != facts.account]
    if attempt.outcome in {"unknown_key", "unknown_account", "too_many_keys"} and elsewhere:
        said["meaning"] += f" But it opens {', '.join(elsewhere)}: the user name is most likely wrong."
        said["ask"] = f"Use {' or '.join(elsewhere)} as the user name, or say which district this file is of."
        said["do"] = ""
    if attempt.outcome == "wrong_network":
        offered = {key.fingerprint for key in attempt.offered}
        allowed = sorted({one for key in facts.keys if key.fingerprint in offered for one in key.networks})
        said["meaning"] += f" It came from {attempt.address}; allowed is {', '.join(allowed) or 'nothing'}."
    if attempt.message:
        said["meaning"] += f" ({attempt.message})"
    return Advice(**said)


def _unknown(facts: Facts) -> Finding:
    near = difflib.get_close_matches(facts.account.lower(), facts.other_accounts, n=3)
    advice = f"Perhaps {' or '.join(near)}? " if near else ""
    return Finding(
        "account",
        Severity.PROBLEM,
        f"There is no account {facts.account!r}.",
        f"{advice}`landingzone accounts list` shows all; `landingzone accounts add` makes one.",
    )


def _door(facts: Facts) -> Iterator[Finding]:
    if not facts.enabled:
        advice = f"`landingzone accounts enable {facts.account}`, if it was disabled by mistake."
        yield Finding("account", Severity.PROBLEM, "The account is disabled: no key opens it.", advice)
    opening = [key for key in facts.keys if key.opens]
    if not facts.keys:
        advice = f"`landingzone keys add {facts.account} FILE` with the public key that the customer sends."
        yield Finding("keys", Severity.PROBLEM, "The account has no key.", advice)
    elif not opening:
        states = ", ".join(sorted({key.state for key in facts.keys}))
        advice = "Ask the customer for a new public key."
        yield Finding(
            "keys", Severity.PROBLEM, f"None of the account's {len(facts.keys)} keys opens: {states}.", advice
        )
    for address, until in facts.penalties:
        advice = f"`landingzone door penalties lift {address}`, once the cause below is gone."
        yield Finding("penalty", Severity.PROBLEM, f"{address} has to wait until {until}.", advice)
    attempts = [one for one in facts.attempts if one.outcome != _NOTHING_SAID or one.client]
    if not attempts:
        if not any(key.last_used_at for key in facts.keys):
            advice = (
                "Ask the customer whether its program says anything: a firewall of theirs, a wrong host or port, or "
                "a schedule that does not run. Nothing of theirs has reached us."
            )
            yield Finding("logins", Severity.WARNING, "Nobody has ever tried to log in to this account.", advice)
        return
    yield from _refused(facts, attempts)


def _refused(facts: Facts, attempts: Sequence[LoginAttempt]) -> Iterator[Finding]:
    """Of each address and client that came last in vain, that attempt."""
    seen: set[tuple[str, str]] = set()
    came_in = max((one.last_at for one in attempts if one.outcome == OPENED), default="")
    for attempt in attempts:
        who = (attempt.address, attempt.client)
        if who in seen:
            continue
        seen.add(who)
        if attempt.outcome == OPENED:
            continue
        advice = explain(attempt, facts)
        asked = f"Ask the customer: {advice.ask}" if advice.ask else ""
        shut_out = (
            attempt.account == facts.account and attempt.last_at > came_in
        )  # else another of its programs comes in
        yield Finding(
            "logins",
            Severity.PROBLEM if shut_out else Severity.WARNING,
            f"{attempt.address} was refused {_times(attempt)}, last {attempt.last_at}: {advice.meaning}",
            " ".join(filter(None, (asked, advice.do))),
        )


def _files(facts: Facts) -> Iterator[Finding]:
    for upload in facts.incomplete:
        old = upload.age_seconds > facts.resume_hours * 3600
        minutes = upload.age_seconds / 60
        if upload.closed and upload.temporary:
            found = f"{upload.name} was sent {minutes:.0f} minutes ago under a temporary name, and never renamed."
            advice = "Ask the customer: let the program rename the file at the end, or send it under its own name."
            yield Finding("uploads", Severity.PROBLEM, found, advice)
        elif not upload.closed and minutes > 1:
            found = f"{upload.name} stopped {minutes:.0f} minutes ago after {upload.bytes:,} bytes."
            advice = "Ask the customer: send the whole file again" + ("." if old else ", or resume it.")
            yield Finding("uploads", Severity.WARNING, f"{found} Nothing of it has landed.", advice)
    if facts.waiting:
        found = f"{len(facts.waiting)} files have landed and wait for the import."
        yield Finding("waiting", Severity.WARNING, found, "`landingzone doctor` says whether the import runs.")
    yield from _runs(facts)


def _runs(facts: Facts) -> Iterator[Finding]:
    """Of each source its newest landing, if that has not come to a good end."""
    seen: set[str] = set()
    for run in facts.runs:
        of = run.source or run.file
        if of in seen:
            continue
        seen.add(of)
        match run.outcome:
            case "held":
                advice = f"`landingzone runs show {run.id}`, then `landingzone runs approve {run.id}` or `reject`."
                yield Finding("runs", Severity.PROBLEM, f"{run.file} waits for an operator: {run.why}", advice)
            case "failed":
                advice = f"Look for `run.error` in the log, repair it, then `landingzone runs retry {run.id}`."
                yield Finding("runs", Severity.PROBLEM, f"{run.file} could not be imported: {run.why}", advice)
            case "rejected":
                found = f"{run.file} cannot be used: {run.why}"
                yield Finding("runs", Severity.PROBLEM, found, "Ask the customer to correct it and send it again.")
            case "unrecognised":
                expected = ", ".join(source.pattern for source in facts.sources)
                advice = (
                    f"Ask the customer to send it as one of {expected}; or `landingzone feeds expect {facts.account}`."
                )
                yield Finding("runs", Severity.PROBLEM, f"Nobody expects a file named {run.file}.", advice)
            case None:
                yield Finding(
                    "runs", Severity.WARNING, f"{run.file} is under way ({run.state}).", "Look again in a minute."
                )


def _times(attempt: LoginAttempt) -> str:
    return "once" if attempt.times == 1 else f"{attempt.times} times since {attempt.first_at}"


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f" {name}", f" {value}")
    return text


def fingerprints(attempts: Iterable[LoginAttempt]) -> set[str]:
    """Every key that was offered."""
    return {key.fingerprint for attempt in attempts for key in attempt.offered}
