"""What districts send, and what must be there once it was applied: the model that the service is held against."""

import csv
import hashlib
import io
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

COLUMNS = {
    "students": {
        "student_id": "Student ID",
        "first_name": "First Name",
        "last_name": "Last Name",
        "phone": "Phone Number",
        "school_id": "School ID#",
        "language": "Language",
        "grade": "Grade",
    },
    "staff": {
        "staff_id": "Staff ID",
        "last_name": "Last Name",
        "first_name": "First Name",
        "phone": "Phone",
        "school_id": "School",
        "language": "Language",
        "position": "Position",
    },
    "sections": {
        "staff_id": "Staff ID",
        "school_id": "School ID#",
        "section_id": "Section#",
        "period": "Period",
        "course_name": "Course Name",
    },
    "attendance": {"student_id": "Student ID", "reason": "Reason", "absence_date": "Date", "period": "Period"},
}
KEYS = {
    "students": ("student_id",),
    "staff": ("staff_id",),
    "sections": ("school_id", "section_id"),
    "attendance": ("student_id", "absence_date", "period"),
}
_SIZES = {"students": 40, "staff": 12, "sections": 12}
_DEAL = ("students", "attendance", "staff", "students", "attendance", "sections")
_DAYS = 3

Row = dict[str, str]
Key = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Upload:
    """One file that a district sends; `number` counts the district's files, in the order in which it sends them."""

    account: str
    number: int
    feed: str
    rows: dict[Key, Row] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.feed}.csv"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def days(self) -> set[str]:
        return {row["absence_date"] for row in self.rows.values()} if self.feed == "attendance" else set()


@dataclass
class Kept:
    """A row as the service must keep it; `changed`, `ended`: landing ids."""

    row: Row
    changed: str
    ended: str | None = None


def uploads_of(seed: int, account: int, count: int) -> list[Upload]:
    """A district's files: each file of a source differs from the one before by rows that come, change and go."""
    rng = random.Random(f"{seed} {account}")  # text: the same numbers from every version of Python
    name = f"district-{account}"
    standing: dict[str, dict[Key, Row]] = {feed: {} for feed in COLUMNS}
    made = []
    for number in range(count):
        feed = _DEAL[number % len(_DEAL)]
        if feed == "attendance":
            rows = _attendance(rng, account, number)
        else:
            rows = _next_roster(rng, feed, account, number, standing[feed])
            standing[feed] = rows
        made.append(Upload(name, number, feed, rows, _content(feed, rows.values())))
    return made


def applied(uploads: Iterable[tuple[str, Upload]]) -> dict[Key, Kept]:
    """What a source keeps after files (with their landing ids) were applied to it in this order."""
    kept: dict[Key, Kept] = {}
    for landing_id, upload in uploads:
        for key, one in kept.items():
            spoken_of = upload.feed != "attendance" or one.row["absence_date"] in upload.days
            if one.ended is None and spoken_of and key not in upload.rows:
                one.ended = landing_id
        for key, row in upload.rows.items():
            if key not in kept or kept[key].ended is not None or kept[key].row != row:
                kept[key] = Kept(row, landing_id)
    return kept


def _next_roster(rng: random.Random, feed: str, account: int, number: int, before: dict[Key, Row]) -> dict[Key, Row]:
    rows = {key: dict(row) for key, row in before.items()}
    if rows:
        del rows[rng.choice(sorted(rows))]
        changed = rng.choice(sorted(rows))
        rows[changed]["first_name" if "first_name" in rows[changed] else "course_name"] = f"Renamed {account}.{number}"
    for at in range(_SIZES[feed] if not before else 1):
        row = _member(feed, account * 10_000 + number * 100 + at, rng)
        rows[tuple(row[name] for name in KEYS[feed])] = row
    return rows


def _member(feed: str, serial: int, rng: random.Random) -> Row:
    school = f"{rng.randrange(3):03d}"
    person = {
        "first_name": f"First{serial}",
        "last_name": f"Last{serial}",
        "phone": f"206{2_000_000 + serial:07d}",
        "school_id": school,
        "language": rng.choice(("en", "es")),
    }
    if feed == "students":
        return {"student_id": f"1{serial}", **person, "grade": str(rng.randrange(1, 13))}
    if feed == "staff":
        return {"staff_id": f"2{serial}", **person, "position": "Teacher"}
    return {
        "staff_id": f"2{serial}",
        "school_id": school,
        "section_id": f"S{serial}",
        "period": str(rng.randrange(1, 8)),
        "course_name": f"Course {serial}",
    }


def _attendance(rng: random.Random, account: int, number: int) -> dict[Key, Row]:
    """Two days of the week, whole; the same days come again in later files."""
    rows = {}
    for day in rng.sample(range(1, _DAYS + 1), 2):
        for at in rng.sample(range(_SIZES["students"]), 4):
            row = {
                "student_id": f"1{account * 10_000 + at}",
                "reason": f"R{number}",
                "absence_date": f"2026-11-0{day}",
                "period": str(rng.randrange(1, 8)),
            }
            rows[tuple(row[name] for name in KEYS["attendance"])] = row
    return rows


def _content(feed: str, rows: Iterable[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS[feed].values())
    writer.writerows([row[name] for name in COLUMNS[feed]] for row in rows)
    return text.getvalue().encode()
