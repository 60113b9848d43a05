"""Rows per second and peak memory of a whole import, beside peers that do less, on the same files in the same run.

Ours: from a landed file to committed data on SQLite, archive and receipt. DuckDB: raw read_csv into a table. pandas +
pandera and frictionless: validate only, by what our rules of this feed ask of a value (`rules_of_feed`): required
values, lengths, the key's uniqueness, and what no value may be (words for nothing, errors and rewritten numbers of
spreadsheets, names without a letter, in identifiers characters that nobody sees), as one pattern a column. What only
ours do besides: trim, tell damaged lines, warn of lost leading zeros, hash, compare, archive. Each measurement is a
process of its own; the pairs alternate.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
from enrollments import enrollments

ROUNDS = 3
OURS = ("landingzone, first load", "landingzone, next day")
NOTHING = r"null|none|nil|n/?a\.?|not applicable|undefined|unknown|[\W_]+|\\n|[(<\[{]null[)>\]}]"
CELL_ERROR = r"#(?:n/a|ref!|value!|name\?|div/0!|num!|null!|spill!|calc!|field!|error!|getting_data|#{2,})"
NO_ID = (
    r"nan|(?:grand |sub)?-?totals?(?:[ :=].*)?|(?:record|row) count.*|end of (?:file|report)|eof|#.+[!?]"
    r"|[0-9](?:\.[0-9]+)?e\+[0-9]{1,3}|[0-9]{1,3}(?:,[0-9]{3})+|=.*|'.*|[0-9]+\.0"
)
NO_NAME = r"[\d\W_]+"
UNSEEN = r"\x00-\x08\x0e-\x1f\x7f\x85\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2069\u3000\ufeff"


def write_files(folder: Path, rows: int) -> tuple[Path, Path]:
    """An enrollments file of so many rows, and the next day's: 0.5 % changed, 0.2 % added, 0.1 % removed."""
    chance = np.random.default_rng(7)
    first = enrollments(np.arange(rows), chance)
    fate = chance.random(rows)
    second = first.filter(pl.Series(fate >= 0.001)).with_columns(
        pl.when(pl.Series(fate[fate >= 0.001] < 0.006))
        .then(pl.lit("Someone Else"))
        .otherwise("Instructor")
        .alias("Instructor")
    )
    added = first.sample(rows // 500, seed=7).with_columns(("NEW" + pl.col("Section#")).alias("Section#"))
    paths = folder / "first.csv", folder / "second.csv"
    for path, frame in zip(paths, (first, pl.concat([second, added])), strict=True):
        frame.write_csv(path, quote_style="always", line_terminator="\r\n")
    return paths


def ours(root: str, file: str) -> None:
    """Land and import a file in this process: every step of a run, without the queue."""
    from landingzone import landing_record
    from landingzone.command import Installation
    from processor import run as runs
    from processor.durable_steps import durable_steps
    from processor.service import open_context

    here = Installation(Path(root))
    context = open_context(here.settings, here.db)
    upload, descriptor = here.zone.begin_upload("bench", "enrollments.csv")
    with os.fdopen(descriptor, "wb") as out, Path(file).open("rb") as content:
        while piece := content.read(1 << 20):
            out.write(piece)
    landing = here.zone.new_landing("bench", "enrollments.csv")
    here.zone.land(upload, landing)
    started = time.perf_counter()
    with here.db.write() as tx:
        landing_record.note(tx, landing)
        run_id = runs.add(tx, landing)
    durable_steps(context)(run_id)
    elapsed = time.perf_counter() - started
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()  # the process that writes a first load counts once it has ended
    with here.db.read() as tx:
        run = runs.get(tx, run_id)
    assert run.outcome == "imported", run.report
    done(elapsed, run.report["rows"]["read"])


def duckdb(folder: str, file: str) -> None:
    """DuckDB's raw read_csv into a table on disk."""
    import duckdb as engine

    started = time.perf_counter()
    connection = engine.connect(f"{folder}/duck.db")
    connection.execute(f"create or replace table t as select * from read_csv('{file}', all_varchar = true)")
    rows = connection.execute("select count(*) from t").fetchone()[0]
    connection.close()
    done(time.perf_counter() - started, rows)


def rules_of_feed(file: str) -> tuple[list[tuple[str, bool, int, str]], list[str]]:
    """What the feed's declaration asks of the file's columns, which are its fields in order, for a peer.

    Of each column the name, whether a value is required, its greatest length, and a pattern that a value must match;
    and the names of the key's columns.
    """
    from landingzone.feed import load_catalogue
    from processor import rules

    feed = load_catalogue()["enrollments"]
    with Path(file).open(encoding="utf-8") as lines:
        names = [name.strip('"') for name in lines.readline().strip().split(",")]
    identifiers = rules.identifiers(feed, feed.fields)
    columns = []
    for name, field in zip(names, feed.fields, strict=True):
        forbidden, unseen = f"{NOTHING}|{CELL_ERROR}", ""
        if field.name in identifiers:
            forbidden, unseen = f"{forbidden}|{NO_ID}", UNSEEN
        elif rules.is_name(field):
            forbidden = f"{forbidden}|{NO_NAME}"
        allowed = f"[^{unseen}]*" if unseen else ".*"
        columns.append((name, field.required, field.max_length or 255, rf"^(?!(?i:{forbidden})$){allowed}$"))
    return columns, [name for name, field in zip(names, feed.fields, strict=True) if field.name in feed.key]


def pandera(_folder: str, file: str) -> None:
    """pandas reads, pandera validates by the same rules as ours."""
    import pandas as pd
    import pandera.pandas as pa

    columns, key = rules_of_feed(file)
    started = time.perf_counter()
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    checked = {
        name: pa.Column(str, [pa.Check.str_length(int(required), longest), pa.Check.str_matches(pattern)])
        for name, required, longest, pattern in columns
    }
    pa.DataFrameSchema(checked, unique=key).validate(frame, lazy=True)
    done(time.perf_counter() - started, len(frame))


def frictionless(_folder: str, file: str) -> None:
    """frictionless validates by the same rules as ours."""
    from frictionless import Resource, Schema, system

    columns, key = rules_of_feed(file)
    fields = [
        {
            "name": name,
            "type": "string",
            "constraints": {"required": required, "maxLength": longest, "pattern": pattern.strip("^$")},
        }
        for name, required, longest, pattern in columns
    ]
    started = time.perf_counter()
    with system.use_context(trusted=True):
        schema = Schema.from_descriptor({"fields": fields, "primaryKey": key})
        report = Resource(path=file, schema=schema).validate()
    assert report.valid, report.flatten(["type"])[:1]
    done(time.perf_counter() - started, report.tasks[0].stats["rows"])


def done(seconds: float, rows: int) -> None:
    """Tell the parent what was measured."""
    status = Path("/proc/self/status").read_text()  # ru_maxrss would begin with the parent's
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    peak += resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # the process that writes a first load
    print(json.dumps({"seconds": seconds, "rows": rows, "peak_mib": peak}))


def measure(what: str, *arguments: str) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--one", what, *arguments]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "LANDINGZONE_LOG__LEVEL": "error"}
    )
    return json.loads(found.stdout.splitlines()[-1])


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = write_files(folder, rows)
        found: dict[str, list[dict[str, float]]] = {}
        for _ in range(ROUNDS if rows < 10_000_000 else 1):
            root = folder / "zone"
            subprocess.run(["rm", "-rf", root], check=True)
            subprocess.run(
                [sys.executable, "-m", "landingzone", "--root", root, "init"], check=True, stdout=subprocess.DEVNULL
            )
            subprocess.run(
                [sys.executable, "-m", "landingzone", "--root", root, "accounts", "add", "bench"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            for label, what, where, file in (
                (OURS[0], "ours", root, first),
                ("DuckDB read_csv -> table", "duckdb", folder, first),
                (OURS[1], "ours", root, second),
                ("DuckDB read_csv -> table, next day", "duckdb", folder, second),
            ):
                found.setdefault(label, []).append(measure(what, str(where), str(file)))
        found["pandas + pandera"] = [measure("pandera", name, str(first))]
        if rows <= 350_000:
            found["frictionless validate"] = [measure("frictionless", name, str(first))]
    tell(rows, found)


def tell(rows: int, found: dict[str, list[dict[str, float]]]) -> None:
    """Print the table, and each of ours as a ratio to its peers'."""
    print(f"{rows:,} rows, {len(found[OURS[0]])} rounds, medians")
    print(f"{'':<38}{'rows/s':>12}{'seconds':>10}{'peak MiB':>10}")
    speed = {}
    for label, runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        speed[label] = runs[0]["rows"] / seconds
        peak = max(run["peak_mib"] for run in runs)
        print(f"{label:<38}{speed[label]:>12,.0f}{seconds:>10.2f}{peak:>10,.0f}")
    for ours, target in zip(OURS, (0.35, 0.6), strict=True):
        duck = "DuckDB read_csv -> table" + (", next day" if "next day" in ours else "")
        ratios = [f"{speed[ours] / speed[duck]:.2f} of DuckDB (target {target})"]
        for peer, least in (("pandas + pandera", 4), ("frictionless validate", 40)):
            if peer in speed:
                ratios.append(f"{speed[ours] / speed[peer]:.2f} of {peer} (target {least})")
        print(f"{ours}: {', '.join(ratios)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        globals()[sys.argv[2]](*sys.argv[3:])
    else:
        for count in map(int, sys.argv[1:] or ["350000", "3500000"]):
            main(count)
