"""The run: every source is prepared, sent and vouched for by its receipt, under a lock and with a log of its own."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import stamina
from filelock import FileLock, Timeout

from landingzone.clock import iso, now
from landingzone.errors import LandingZoneError
from upload import attempts, run_log
from upload.attempts import Attempt
from upload.begun import BegunUploads
from upload.carrier import Carrier
from upload.command import Setup
from upload.connection import AGENT, Line, Way
from upload.delivery import Progress
from upload.errors import (
    AnotherRun,
    ConnectionLost,
    KeyUnusable,
    LoginRefused,
    ServerChanged,
    ServerRefused,
    SettingsError,
)
from upload.folder import Folder
from upload.host_key import Pins
from upload.outcome import Ending
from upload.outgoing import Outgoing
from upload.parcel import Parcel, pack
from upload.patience import Patience
from upload.preparation import Prepared, prepare
from upload.receipt import Awaited, Receipt, newest
from upload.run_log import Note, RunLog
from upload.settings import SourceSettings, resolved
from upload.sftp import SftpCarrier
from upload.token import read_token

LEFT_OVER_SECONDS = 24 * 3600
"""What lies in the work folder for so long is left over from a program that was killed."""


class Reporter(Progress, Protocol):
    """Is told what happens, for whoever watches."""

    def say(self, line: str) -> None:
        """A line for people."""

    def done(self, parcel: Parcel) -> None:
        """A parcel has arrived, or is given up."""


@dataclass
class _Load:
    """A file that is to be sent."""

    prepared: Prepared
    parcel: Parcel
    began: str


class Run:
    """One run over some sources.

    Args:
        here: the folder and its settings.
        reporter: is told what happens.
        patience: how long is waited, made when sending begins; by default as the settings say.
        with_values: whether rejected values, which are personal data, may be told: on a terminal only.
    """

    def __init__(
        self,
        here: Setup,
        reporter: Reporter,
        *,
        patience: Callable[[], Patience] | None = None,
        with_values: bool = False,
    ) -> None:
        self._here = here
        self._reporter = reporter
        self._with_values = with_values
        self._patience = patience or (lambda: Patience(time.monotonic() + here.settings.server.deadline * 60))
        self._ended: list[Attempt] = []
        self._note: Note = lambda *_, **__: None
        self._log_name = ""
        self._before: dict[str, str] = {}

    def go(self, sources: Sequence[SourceSettings], *, send_anyway: bool = False) -> list[Attempt]:
        """Send them; how each ended. Raises AnotherRun, SettingsError, PinRefused."""
        quieten()
        folder = self._here.folder
        with only_one(folder), RunLog(folder.logs) as log:
            self._note, self._log_name = log, log.path.name
            run_log.remove_old(folder.logs)
            _remove_left_over(folder.work)
            log("run.began", sources=[source.called for source in sources], send_anyway=send_anyway)
            loads: list[_Load] = []
            try:
                for source in sources:
                    loads += self._prepared(source, send_anyway=send_anyway)
                if loads:
                    self._send(loads)
            finally:
                for load in loads:
                    load.prepared.discard()
                order = [source.called for source in sources]
                self._ended.sort(key=lambda one: (order.index(one.key.partition(".")[0]), one.key))
                attempts.add(folder.state, self._ended)
                log("run.ended", endings={one.key: one.ending.name for one in self._ended})
        return self._ended

    # Before sending

    def _prepared(self, source: SourceSettings, *, send_anyway: bool) -> Iterator[_Load]:
        began, say = iso(now()), self._reporter.say
        say(f"{source.called}: extracting")
        try:
            for prepared in prepare(self._here, source):
                out = prepared.outgoing
                self._note("source.prepared", source=prepared.key, rows=out.rows, bytes=out.bytes, sha256=out.sha256)
                if prepared.refusal and not send_anyway:
                    text = f"It was not sent: {prepared.refusal} To send it all the same: --send-anyway."
                    self._end(Attempt(prepared.key, out.feed, began, Ending.REFUSED, prepared.refusal, words=text))
                    prepared.discard()
                    continue
                parcel = pack(out, self._here.settings.server.compress)
                say(f"{prepared.key}: {out.rows:,} rows, {_mebibytes(out.bytes)}, to send {_mebibytes(parcel.bytes)}")
                self._note("source.packed", source=prepared.key, file=parcel.name, bytes=parcel.bytes)
                yield _Load(prepared, parcel, began)
        except SettingsError:
            raise
        except LandingZoneError as wrong:
            self._end(Attempt(source.called, source.feed, began, Ending(wrong.exit_code), str(wrong), words=str(wrong)))

    # Sending

    def _send(self, loads: list[_Load]) -> None:
        carrier = carrier_of(self._here, self._patience(), self._note)
        open_loads = {load.parcel.name: load for load in loads}
        try:
            self._before = _before(carrier, [load.parcel for load in loads], self._note)
            for load in loads:
                self._reporter.say(f"{load.prepared.key}: sending")
                try:
                    carrier.deliver(load.parcel, self._note, self._reporter)
                except LandingZoneError as wrong:
                    if _stops_everything(wrong):
                        raise
                    self._give_up(open_loads.pop(load.parcel.name), wrong)
                finally:
                    self._reporter.done(load.parcel)
            if open_loads:
                self._reporter.say("Waiting for the receipts")
            awaited = Awaited([load.parcel for load in open_loads.values()], self._before, self._note)
            for parcel, receipt in awaited.come(carrier):
                self._receipted(open_loads.pop(parcel.name), receipt)
            for parcel in awaited.missing:
                self._without_receipt(open_loads.pop(parcel.name), awaited.failed(parcel))
        except LandingZoneError as wrong:
            if not _stops_everything(wrong) and not isinstance(wrong, ConnectionLost):
                raise
            for load in open_loads.values():
                self._give_up(load, wrong)
        finally:
            carrier.close()

    def _receipted(self, load: _Load, receipt: Receipt) -> None:
        told, ending = receipt.told, receipt.ending(load.parcel)
        self._note(
            "receipt.came",
            source=load.prepared.key,
            landing_id=told.landing_id,
            outcome=told.outcome,
            ending=ending.name,
            rows=told.rows.model_dump(),
            reject_counts=told.reject_counts,
        )
        if ending in {Ending.IMPORTED, Ending.IMPORTED_WITH_REJECTS}:
            load.prepared.remember(self._here.folder.state)
        self._end(
            self._attempt(
                load,
                ending,
                words=receipt.in_words(load.parcel, with_values=self._with_values),
                outcome=told.outcome,
                landing_id=told.landing_id,
                rejected=told.rows.rejected,
            )
        )

    def _without_receipt(self, load: _Load, failed: Receipt | None) -> None:
        why = (
            "It was delivered; something went wrong at the vendor's, who tries again. You need not send it again."
            if failed
            else "It was delivered; no receipt came within the deadline. Look with the next run, or ask the vendor."
        )
        self._note("receipt.missing", source=load.prepared.key, sha256=load.parcel.sha256)
        self._end(self._attempt(load, Ending.NO_RECEIPT, why=why, words=why))

    def _give_up(self, load: _Load, wrong: LandingZoneError) -> None:
        self._note("source.given_up", source=load.prepared.key, why=str(wrong))
        ending = Ending(wrong.exit_code)
        self._end(self._attempt(load, ending, why=str(wrong), words=f"Not delivered. {wrong}"))

    def _attempt(self, load: _Load, ending: Ending, **more: str | int) -> Attempt:
        out, parcel = load.prepared.outgoing, load.parcel
        return Attempt(
            load.prepared.key,
            out.feed,
            load.began,
            ending,
            file=parcel.name,
            rows=out.rows,
            bytes=parcel.bytes,
            sha256=parcel.sha256,
            after=self._before.get(parcel.name, ""),
            log=self._log_name,
            **more,  # type: ignore[arg-type] # names of Attempt's own
        )

    def _end(self, attempt: Attempt) -> None:
        self._ended.append(attempt)
        self._note("source.ended", source=attempt.key, ending=attempt.ending.name, why=attempt.why)
        self._reporter.say(f"\n{attempt.key}: {attempt.ending.said}\n{attempt.words.rstrip()}")


def look_again(here: Setup, seconds: float = 20) -> None:
    """Look for receipts that had not come when the last run ended, and keep what they say. Sends nothing.

    Raises what `connect` raises, AnotherRun.
    """
    newest_ones = {one.file: one for found in attempts.load(here.folder.state).values() for one in found[:1]}
    missing = {name: one for name, one in newest_ones.items() if one.ending is Ending.NO_RECEIPT and one.sha256}
    if not missing:
        return
    quieten()
    parcels = [
        Parcel(Outgoing(one.key, one.feed, Path(), name, one.rows, 0, ""), Path(), name, one.bytes, one.sha256)
        for name, one in missing.items()
    ]
    with only_one(here.folder), RunLog(here.folder.logs) as log:
        carrier = carrier_of(here, Patience(time.monotonic() + seconds, silence=seconds), log)
        try:
            awaited = Awaited(parcels, {name: one.after for name, one in missing.items()}, log)
            for parcel, receipt in awaited.look_once(carrier):
                told = receipt.told
                found = {"outcome": told.outcome, "landing_id": told.landing_id, "rejected": told.rows.rejected}
                log("receipt.came", source=parcel.outgoing.source, **found)
                ending = receipt.ending(parcel)
                attempts.replace(here.folder.state, replace(missing[parcel.name], ending=ending, why="", **found))  # type: ignore[arg-type] # its names
        finally:
            carrier.close()


def carrier_of(here: Setup, patience: Patience, note: Note) -> Carrier:
    """What brings parcels to the server of the settings. Raises PinRefused."""
    server = here.settings.server
    if not server.url:
        return SftpCarrier(Line(way(here, patience), note))
    from upload.https import HttpsCarrier  # noqa: PLC0415 - its libraries take their time

    file = resolved(here.folder, server.token)
    ca_file = resolved(here.folder, server.ca_file) if server.ca_file else None
    begun = BegunUploads(here.folder.state)
    return HttpsCarrier(server, patience, lambda: read_token(server, file), ca_file, begun)


def way(here: Setup, patience: Patience) -> Way:
    """How the settings reach the server. Raises PinRefused."""
    server = here.settings.server
    key = None if server.key == AGENT else resolved(here.folder, server.key)
    return Way(server, Pins.of(server.host_keys, server.host, server.port), key, patience)


@contextmanager
def only_one(folder: Folder) -> Iterator[None]:
    """Nobody else runs in this folder meanwhile. Raises AnotherRun."""
    try:
        with FileLock(folder.state / "run.lock", timeout=0, mode=0o600):
            yield
    except Timeout:
        raise AnotherRun from None


def quieten() -> None:
    """What libraries would log by themselves: errors here have their own words, and the log its own lines."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
    stamina.instrumentation.set_on_retry_hooks(())


def _before(carrier: Carrier, parcels: list[Parcel], note: Note) -> dict[str, str]:
    """The newest receipt of each name as the run begins. Raises ConnectionLost at the deadline."""
    patience, wait = carrier.patience, carrier.patience.first
    while True:
        try:
            try:
                return newest(carrier, [parcel.name for parcel in parcels])
            except ServerRefused as refused:
                raise ConnectionLost(f"The server does not show its receipts: {refused}") from None
        except ConnectionLost as lost:
            note("attempt.failed", why=str(lost))
            if patience.left <= wait:
                raise
        time.sleep(wait)
        wait = min(wait * 2, patience.longest)


def _stops_everything(wrong: LandingZoneError) -> bool:
    """Whether no other file could be sent either: another server, a key that is not taken or cannot be read."""
    return isinstance(wrong, ServerChanged | LoginRefused | KeyUnusable)


def _remove_left_over(work: Path) -> None:
    limit = time.time() - LEFT_OVER_SECONDS
    for path in work.iterdir():
        if path.is_dir() and path.stat().st_mtime < limit:
            shutil.rmtree(path, ignore_errors=True)


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB" if size >= 1 << 20 else f"{size / 1024:,.1f} KiB"
