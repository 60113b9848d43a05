"""Metrics for Prometheus, declared as data. What is counted is what is logged, so the two never disagree.

A counter or histogram is fed by the log's stable events (landingzone.log passes each one on, whatever level is
written); a gauge is looked up when somebody asks. Labels are words of our own code: never an account, a file or an
address, so thousands of districts cost nothing, and nothing about a person can get out. What one account did, the log
and `landingzone doctor ACCOUNT` say.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from landingzone import __version__
from landingzone.clock import now
from landingzone.landing import moment_of

PREFIX = "landingzone_"
_WORD = re.compile(r"[a-z][a-z0-9_.]{0,39}")
_MOST_SERIES = 200
"""Series of one metric. Our own words come nowhere near; a mistake of ours must not fill somebody's Prometheus."""

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PATIENT = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

Event = Mapping[str, Any]


class Kind(StrEnum):
    """How a metric behaves, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Part(StrEnum):
    """The process that exports a metric."""

    DOOR = "door"
    PROCESSOR = "processor"
    CONSOLE = "console"


EVERY = tuple(Part)


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric.

    Attributes:
        name: without the prefix, and without the `_total` that Prometheus adds to a counter.
        kind: what it is.
        said: one sentence for its reader; with the unit.
        parts: who exports it.
        labels: names of its labels.
        bounds: a histogram's buckets.
        known: label values that are told from the start, as 0: where a series begins with 1, Prometheus sees no
            increase.
    """

    name: str
    kind: Kind
    said: str
    parts: tuple[Part, ...]
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()

    @property
    def full_name(self) -> str:
        """As a query names it; of a histogram the part before `_bucket`, `_sum` and `_count`."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"


def _counter(
    name: str, said: str, *labels: str, parts: tuple[Part, ...], known: Iterable[str | tuple[str, ...]] = ()
) -> Declared:
    values = tuple((value,) if isinstance(value, str) else value for value in known)
    return Declared(name, Kind.COUNTER, said, parts, labels, known=values)


def _gauge(name: str, said: str, *labels: str, parts: tuple[Part, ...]) -> Declared:
    return Declared(name, Kind.GAUGE, said, parts, labels)


def _histogram(name: str, said: str, bounds: tuple[float, ...], *, parts: tuple[Part, ...]) -> Declared:
    return Declared(name, Kind.HISTOGRAM, said, parts, (), bounds)


_DOOR, _PROCESSOR, _CONSOLE = (Part.DOOR,), (Part.PROCESSOR,), (Part.CONSOLE,)

ROWS = ("read", "accepted", "rejected", "added", "changed", "unchanged", "deactivated")
OUTCOMES = (
    *("imported", "imported_with_rejects", "unchanged", "held", "superseded"),
    *("rejected", "unrecognised", "withdrawn", "failed", "reverted"),
)
REFUSED_LOGINS = (
    *("unknown_account", "account_disabled", "unknown_key", "key_revoked", "key_expired", "key_retired"),
    *("wrong_network", "key_not_proven", "no_key_offered", "nothing_said", "login_timeout", "no_common_algorithm"),
    *("host_key_not_trusted", "protocol_error", "too_many_keys", "too_many_requests", "penalty", "crowded_out"),
    *("sessions", "sessions_per_account", "unknown_authority", "wrong_principal", "certificate_not_yet_valid"),
    *("certificate_expired", "certificate_revoked", "certificate_unusable", "old_signature"),
)
REFUSED_UPLOADS = (
    *("disk_full", "disk_error", "disk_floor", "landing_failed", "too_much", "bytes_missing", "write_refused"),
    "queue_full",
)
CUT_UPLOADS = ("connection_lost", "server_stopped")
REFUSED_BY_CONSOLE = (
    *("disk_full", "disk_error", "disk_floor", "landing_failed", "too_much", "queue_full", "not_whole"),
    "account_disabled",
)
CUT_BY_CONSOLE = (*CUT_UPLOADS, "overtaken")
ASKED = ("page", "api", "upload", "static")
ANSWERED = ("ok", "refused", "failed", "cut")
REFUSED_SIGN_INS = ("wrong", "penalty", "not_invited", "provider")
REFUSED_TOKENS = (
    *("unknown_token", "other_kind_of_token", "token_revoked", "token_expired"),
    *("account_disabled", "user_disabled"),
)
OUR_FAULTS = ("disk_full", "internal")
WATCHED_EVENTS = (
    *(("door.error", "none"), ("landing.not_noted", "none"), ("notice.given_up", "none"), ("console.error", "none")),
    *(("proxy.refused", why) for why in ("missing", "malformed", "late", "cut", "crowded_out")),
)

METRICS = (
    _gauge("build_info", "Always 1; the version is the label.", "version", parts=EVERY),
    _gauge("ready", "Whether a check of /readyz holds: 1 or 0.", "check", parts=EVERY),
    _gauge("pulse_age_seconds", "How long ago the part's main loop last turned.", parts=EVERY),
    _gauge("checked_timestamp_seconds", "When the sampled figures and checks were last looked up.", parts=EVERY),
    _counter(
        "events",
        "Lines of the log by event and, where it gives one, reason.",
        "event",
        "reason",
        parts=EVERY,
        known=WATCHED_EVENTS,
    ),
    _gauge("disk_free_bytes", "Room left on the zone's filesystem for this user.", parts=EVERY),
    _gauge("disk_size_bytes", "Size of the zone's filesystem.", parts=EVERY),
    _gauge("disk_free_inodes", "Files that can still be made on the zone's filesystem.", parts=EVERY),
    _gauge("database_bytes", "Size of the database, with what is not yet checkpointed.", "database", parts=EVERY),
    _gauge("door_connections", "Open connections, those that have not logged in included.", parts=_DOOR),
    _gauge("door_sessions", "Connections that a key has opened.", parts=_DOOR),
    _gauge("door_full", "Whether new files are refused: 1 or 0, by what is full (disk, queue).", "what", parts=_DOOR),
    _gauge("door_queue_files", "Files of all accounts in the inboxes; not counted without `queue_files`.", parts=_DOOR),
    _gauge("door_uploads_open", "Uploads that a client has open.", parts=_DOOR),
    _counter("door_logins", "Logins that a key has opened.", parts=_DOOR),
    _counter("door_logins_refused", "Refused logins by reason.", "reason", parts=_DOOR, known=REFUSED_LOGINS),
    _counter("door_received_bytes", "Bytes of files that clients have written, landed or not.", parts=_DOOR),
    _counter(
        "door_landings",
        "Files that have landed; `expected`: whether a source expects the name.",
        "expected",
        parts=_DOOR,
        known=("yes", "no"),
    ),
    _counter("door_landed_bytes", "Bytes of the files that have landed.", parts=_DOOR),
    _histogram(
        "door_landing_seconds", "From a client's close to the file being safe on the disk.", _QUICK, parts=_DOOR
    ),
    _counter(
        "door_uploads_cut",
        "Uploads that ended before their client closed them.",
        "reason",
        parts=_DOOR,
        known=CUT_UPLOADS,
    ),
    _counter(
        "door_uploads_refused",
        "Uploads whose client was told that they failed.",
        "reason",
        parts=_DOOR,
        known=REFUSED_UPLOADS,
    ),
    _histogram(
        "door_loop_lag_seconds",
        "How much too late the event loop woke; every session waits that long.",
        _QUICK,
        parts=_DOOR,
    ),
    _counter(
        "runs",
        "Finished runs by outcome; counted when the receipt is written.",
        "outcome",
        parts=_PROCESSOR,
        known=OUTCOMES,
    ),
    _counter("rows", "Rows of finished runs by what became of them.", "result", parts=_PROCESSOR, known=ROWS),
    _histogram(
        "close_to_receipt_seconds",
        "From the client's close to the receipt, of a file's first run.",
        _PATIENT,
        parts=_PROCESSOR,
    ),
    _gauge("runs_waiting", "Landings and requests without a receipt yet, those under way included.", parts=_PROCESSOR),
    _gauge("oldest_waiting_seconds", "Age of the oldest of them; 0 where nothing waits.", parts=_PROCESSOR),
    _gauge("runs_unanswered", "Files whose newest run needs somebody, by outcome.", "outcome", parts=_PROCESSOR),
    _gauge("sources_late", "Files that are known to be late; the same from every processor.", parts=_PROCESSOR),
    _gauge(
        "oldest_notice_seconds",
        "Age of the oldest notice that has not reached everybody; 0 where none waits.",
        parts=_PROCESSOR,
    ),
    _counter("scans", "Full scans of the inboxes.", parts=_PROCESSOR),
    _gauge("last_scan_timestamp_seconds", "When the last full scan ended.", parts=_PROCESSOR),
    _counter("scans_late", "Full scans that began more than one interval after they were due.", parts=_PROCESSOR),
    _counter("scans_failed", "Scans that failed and were tried again.", "reason", parts=_PROCESSOR, known=OUR_FAULTS),
    _counter("watch_restarts", "How often watching the inboxes had to be begun again.", parts=_PROCESSOR),
    _counter("run_errors", "Runs that failed on our side.", "reason", parts=_PROCESSOR, known=OUR_FAULTS),
    _counter(
        "run_waits",
        "Steps that could not be finished and were tried again.",
        "reason",
        parts=_PROCESSOR,
        known=(*OUR_FAULTS, "archive_away"),
    ),
    _counter(
        "processor_deaths",
        "Processors that died with runs in hand, as this one has found; their runs were taken up again.",
        parts=_PROCESSOR,
    ),
    _counter(
        "jobs",
        "What the import does by itself now and then, by how it ended; `waits`: it could not be begun.",
        "job",
        "outcome",
        parts=_PROCESSOR,
    ),
    _counter(
        "console_requests",
        "Requests by what was asked for and how it was answered; `cut`: nobody was there any more to hear it.",
        "asked",
        "outcome",
        parts=_CONSOLE,
        known=[(asked, answered) for asked in ASKED for answered in ANSWERED],
    ),
    _histogram(
        "console_answer_seconds",
        "From a request for a page or a call of the API to the beginning of its answer.",
        _QUICK,
        parts=_CONSOLE,
    ),
    _gauge("console_sessions", "Open sessions of people; the same from every console.", parts=_CONSOLE),
    _gauge("console_streams", "Pages that are kept up to date.", parts=_CONSOLE),
    _gauge("console_uploads_open", "Uploads under way, by programs and by hand.", parts=_CONSOLE),
    _counter(
        "console_sign_ins_refused", "Refused sign-ins by reason.", "reason", parts=_CONSOLE, known=REFUSED_SIGN_INS
    ),
    _counter(
        "console_tokens_refused",
        "Requests of programs whose token opened nothing, by reason.",
        "reason",
        parts=_CONSOLE,
        known=REFUSED_TOKENS,
    ),
    _counter(
        "console_landings",
        "Files that have landed by HTTPS or by hand; `expected`: whether a source expects the name.",
        "expected",
        parts=_CONSOLE,
        known=("yes", "no"),
    ),
    _counter("console_landed_bytes", "Bytes of those files.", parts=_CONSOLE),
    _counter(
        "console_uploads_cut",
        "Requests with bytes of an upload that ended before their body did; the upload can be gone on with.",
        "reason",
        parts=_CONSOLE,
        known=CUT_BY_CONSOLE,
    ),
    _counter(
        "console_uploads_refused",
        "Uploads whose sender was told that they failed.",
        "reason",
        parts=_CONSOLE,
        known=REFUSED_BY_CONSOLE,
    ),
)
"""Every metric of our own; beside them prometheus-client exports `process_*` (CPU, memory, descriptors, start)."""


class _Series:
    """The values of one counter or histogram, by label values."""

    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        self.values = dict.fromkeys(declared.known if declared.labels else [()], 0.0)
        self.buckets = [0] * (len(declared.bounds) + 1)
        self.sum = 0.0

    def add(self, amount: float, labels: tuple[str, ...]) -> None:
        if labels not in self.values and len(self.values) >= _MOST_SERIES:
            labels = ("other",) * len(labels)
        self.values[labels] = self.values.get(labels, 0.0) + amount

    def observe(self, value: float) -> None:
        at = next((at for at, bound in enumerate(self.declared.bounds) if value <= bound), len(self.declared.bounds))
        self.buckets[at] += 1
        self.sum += value


Look = Callable[[], float | Mapping[str, float]]


class Metrics(Collector):
    """All metrics of one process.

    `note` is called for every line of the log, from any thread, also on the event loop: a dictionary's increment under
    a lock that nobody holds for longer than that.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self.registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._declared = {one.name: one for one in METRICS if part in one.parts}
        self._series = {n: _Series(one) for n, one in self._declared.items() if one.kind is not Kind.GAUGE}
        self._looks: dict[str, Look] = {"build_info": lambda: {__version__: 1.0}}
        self._sessions = 0
        if part is Part.DOOR:
            self._looks["door_sessions"] = lambda: float(self._sessions)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # What is counted

    def count(self, name: str, amount: float = 1, *labels: str) -> None:
        """Add to a counter. A label's value that is no plain word counts as `other`."""
        words = tuple(label if _WORD.fullmatch(label) else "other" for label in labels)
        with self._lock:
            self._series[name].add(amount, words)

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        with self._lock:
            self._series[name].observe(value)

    def note(self, event: Event) -> None:
        """Count a line of the log."""
        name = str(event.get("event", ""))
        why = str(event.get("reason") or "none")
        if not _WORD.fullmatch(name):  # a library's message, or a sentence
            name, why = "other", "none"
        self.count("events", 1, name, why)
        if self.part is Part.DOOR:
            self._note_door(name, why, event)
        elif self.part is Part.PROCESSOR:
            self._note_processor(name, why, event)
        else:
            self._note_console(name, why, event)

    def _note_door(self, name: str, why: str, event: Event) -> None:
        match name:
            case "session.opened":
                self._sessions += 1
                self.count("door_logins")
            case "session.closed":
                self._sessions -= 1
            case "login.refused":
                self.count("door_logins_refused", 1, why)
            case "file.landed":
                self.count("door_landings", 1, "yes" if event.get("source") else "no")
                self.count("door_landed_bytes", event.get("bytes", 0))
                self.observe("door_landing_seconds", event.get("milliseconds", 0) / 1000)
            case "upload.cut":
                self.count("door_uploads_cut", 1, why)
            case "upload.refused":
                self.count("door_uploads_refused", 1, why)

    def _note_processor(self, name: str, why: str, event: Event) -> None:
        match name:
            case "run.error":
                self.count("run_errors", 1, why)
            case "run.waits":
                self.count("run_waits", 1, why)
            case "run.taken_over" | "run.set_aside" | "run.strayed":
                pass
            case "processor.taken_over" | "processor.crashed":
                self.count("processor_deaths")
            case "job.done" | "job.failed" | "job.waits":
                self.count("jobs", 1, str(event.get("job")), name.removeprefix("job."))
            case "processor.scan_failed":
                self.count("scans_failed", 1, why)
            case "scan.late":
                self.count("scans_late")
            case "watch.died":
                self.count("watch_restarts")
            case _ if name.startswith("run."):
                self._note_run(name.removeprefix("run."), event)

    def _note_console(self, name: str, why: str, event: Event) -> None:
        match name:
            case "console.sign_in_refused":
                self.count("console_sign_ins_refused", 1, why)
            case "console.oidc_refused" | "console.oidc_away":
                self.count("console_sign_ins_refused", 1, "provider")
            case "token.refused" | "api.token_refused":
                self.count("console_tokens_refused", 1, why)
            case "file.landed":
                self.count("console_landings", 1, "yes" if event.get("source") else "no")
                self.count("console_landed_bytes", event.get("bytes", 0))
            case "upload.cut":
                self.count("console_uploads_cut", 1, why)
            case "upload.refused":
                self.count("console_uploads_refused", 1, why)

    def _note_run(self, outcome: str, event: Event) -> None:
        self.count("runs", 1, outcome)
        for result in ROWS:
            self.count("rows", event.get(result) or 0, result)
        if event.get("attempt") == 1 and "landing_id" in event:
            self.observe("close_to_receipt_seconds", (now() - moment_of(event["landing_id"])).total_seconds())

    # What is looked up

    def look_up(self, name: str, look: Look) -> None:
        """Let a gauge (or a counter that somebody else keeps) be looked up whenever the metrics are read.

        `look` must be quick, never wait, and may be called from another thread; it gives the value, or one for each
        value of the label.
        """
        if name not in self._declared:
            raise KeyError(name)
        self._looks[name] = look

    def forget(self, name: str) -> None:
        """Look a gauge up no more: it is not told until somebody knows it again."""
        self._looks.pop(name, None)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Everything, in the text format that an Accept header asks for, and that format's content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def collect(self) -> Iterator[Metric]:
        """Every metric as prometheus-client wants it."""
        for name, declared in self._declared.items():
            look = self._looks.get(name)
            if look is not None:
                yield _looked_up(declared, look())
            elif name in self._series:
                with self._lock:
                    yield _counted(self._series[name])

    def describe(self) -> Iterator[Metric]:
        """Nothing: values are not looked up before they are asked for."""
        return iter(())


def _looked_up(declared: Declared, found: float | Mapping[str, float]) -> Metric:
    family = CounterMetricFamily if declared.kind is Kind.COUNTER else GaugeMetricFamily
    metric = family(PREFIX + declared.name, declared.said, labels=declared.labels)
    for label, value in found.items() if isinstance(found, Mapping) else [("", found)]:
        metric.add_metric([label] if declared.labels else [], value)
    return metric


def _counted(series: _Series) -> Metric:
    declared = series.declared
    if declared.kind is Kind.HISTOGRAM:
        total, buckets = 0, []
        for bound, count in zip([*map(str, declared.bounds), "+Inf"], series.buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return HistogramMetricFamily(PREFIX + declared.name, declared.said, buckets=buckets, sum_value=series.sum)
    metric = CounterMetricFamily(PREFIX + declared.name, declared.said, labels=declared.labels)
    for labels, value in series.values.items():
        metric.add_metric(list(labels), value)
    return metric
