"""What a draft would be sent as: the source that it is for, the name under which it lands, how it would be read.

Nothing is decided here that the import does not decide by itself: names are matched, columns mapped and files examined
by the functions that the import uses.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from console.columns import Column, FirstRows, as_kept, first_rows, missing_of, proposed, suggested_for
from console.drafts import Draft, Drafts
from landingzone.clock import now
from landingzone.command import Installation
from landingzone.errors import LandingZoneError
from landingzone.feed import Feed
from landingzone.kept_mapping import KeptMapping
from landingzone.landing import NameRefused, check_name
from landingzone.pattern import SCHOOL, Pattern
from landingzone.refusal import Refused
from landingzone.source import Source
from processor import run as runs
from processor.dry_run import dry_run
from processor.reading import UnreadableFile
from processor.suggestion import suggest

_AT_ONCE: Final = 2
"""Files that are examined at the same time: each takes a processor and memory."""
_ON_THEIR_WAY: Final = 4
"""Files of one account that may come at the same time."""
_SURE: Final = 0.55
"""From here on a file is proposed for the feed that it looks like."""


class Crowded(Refused):
    """Other files of yours are just on their way. Wait until they are here, and choose this one again."""


class NotExpected(LandingZoneError):
    """This file cannot be sent as that. Choose what it holds from the list."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a draft would be sent.

    Attributes:
        draft: the draft.
        source: the declared source that it is for.
        feed: what that holds.
        kept: the mapping by which it would be read.
        name: the name under which it lands.
    """

    draft: Draft
    source: Source
    feed: Feed
    kept: KeptMapping | None
    name: str

    @property
    def mark(self) -> str:
        """Changes with everything that decides what would be done: what is confirmed is what was shown."""
        kept = [one.as_dict() if one else None for one in (self.kept, self.source.mapping)]
        told = [self.draft.id, self.source.name, self.source.pattern, self.name, kept]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def to_keep(self) -> KeptMapping | None:
        """The mapping that is to be kept when it is sent; None: it is kept already."""
        return self.kept if self.kept != self.source.mapping else None


class Sending:
    """What the drafts of an installation would be sent as."""

    def __init__(self, here: Installation) -> None:
        self.drafts = Drafts(here)
        self._here = here
        self._on_their_way: Counter[str] = Counter()
        self._at_once = threading.BoundedSemaphore(_AT_ONCE)

    @contextmanager
    def way(self, account: str) -> Iterator[None]:
        """A file of an account is on its way here. Raises Crowded. On the event loop only."""
        if self._on_their_way[account] >= _ON_THEIR_WAY:
            raise Crowded
        self._on_their_way[account] += 1
        try:
            yield
        finally:
            self._on_their_way[account] -= 1

    @property
    def on_their_way(self) -> int:
        """How many files are on their way here."""
        return self._on_their_way.total()

    def guess(self, draft: Draft) -> tuple[str, str, bool]:
        """The source and school that a draft is most likely for, and whether that needs no asking; empty: unknown.

        By what its sender has chosen, its name, what a file of that name was sent as before, what it looks like.
        Raises UnreadableFile.
        """
        sources = self._here.sources.of(draft.account)
        if any(one.name == draft.source for one in sources):
            school = draft.school or _school_in(self._named(sources, draft.source), draft.name)
            return draft.source, school, True
        for source in sources:
            if source.of_file(draft.name) is not None:
                return source.name, _school_in(source, draft.name), True
        before = self.drafts.sent_as(draft.account, draft.name)
        if before is not None and any(one.name == before[0] for one in sources):
            return *before, True
        with self._at_once:
            found = suggest(self.drafts.path(draft), self._here.catalogue)
        for one in found:
            fitting = [source.name for source in sources if source.feed == one.feed]
            if fitting and one.confidence >= _SURE:
                return fitting[0], "", False
        return "", "", False

    def plan(self, draft: Draft, *, source: str, school: str, mapping: KeptMapping | None) -> Plan:
        """How it would be sent. Raises NotExpected if the source is none of the account's, or its school is lacking."""
        declared = self._named(self._here.sources.of(draft.account), source)
        feed = self._here.catalogue[declared.feed]
        return Plan(draft, declared, feed, mapping or declared.mapping, self._name(draft, declared, school))

    def planned(self, draft: Draft) -> Plan:
        """How it would be sent by what was chosen for it so far. Raises NotExpected."""
        return self.plan(draft, source=draft.source, school=draft.school, mapping=draft.mapping)

    def look(self, plan: Plan, *, with_header: bool | None) -> tuple[FirstRows, tuple[Column, ...]]:
        """The first rows, and each column with what is proposed for it. Raises UnreadableFile, ColumnsRefused."""
        path = self.drafts.path(plan.draft)
        with self._at_once:
            seen = first_rows(path, plan.feed, plan.kept, with_header=with_header)
            return seen, proposed(seen, plan.feed, plan.kept, suggested_for(path, self._here.catalogue, plan.feed))

    def read_as(self, plan: Plan) -> tuple[FirstRows, tuple[Column, ...]]:
        """The first rows, and each column with what it is taken for. Raises UnreadableFile, ColumnsRefused."""
        seen = first_rows(self.drafts.path(plan.draft), plan.feed, plan.kept, with_header=plan.draft.with_header)
        return seen, as_kept(seen, plan.feed, plan.kept)

    def needs_no_asking(self, plan: Plan) -> bool:
        """Whether every column is known: by what is kept, by known names, or because the last file had it as well.

        Raises UnreadableFile, ColumnsRefused.
        """
        seen, columns = self.read_as(plan)
        if missing_of(plan.feed, {one.field: one.at for one in columns if one.field}):
            return False
        if any(one.sure == "position" for one in columns):
            return False
        if all(one.field for one in columns) or (seen.header is None and plan.kept is not None):
            return True
        if seen.header is not None and self._last_header(plan) == list(seen.header):
            return True
        _, offered = self.look(plan, with_header=None)
        return all(one.field == offer.field for one, offer in zip(columns, offered, strict=True))

    def dry_run(self, plan: Plan) -> dict[str, Any]:
        """The receipt that it would get; nothing happens."""
        source = replace(plan.source, mapping=plan.kept)
        source = source.of_file(plan.name) or source
        with self._at_once:
            return dry_run(
                self._here,
                self.drafts.path(plan.draft),
                feed=plan.feed.name,
                account=plan.draft.account,
                source=source,
                name=plan.name,
            )

    def schools_of(self, account: str, source: Source) -> list[str]:
        """The codes of the schools of which a file has come already."""
        known = (one.name for one in self._here.sources.schools_of(account, source.name))
        before, _, after = Pattern(source.pattern).source_name.partition("{school}")
        return [name.removeprefix(before).removesuffix(after) for name in known]

    def _last_header(self, plan: Plan) -> list[str] | None:
        source = plan.source.of_file(plan.name) or plan.source
        with self._here.db.read() as tx:
            source_id = self._here.sources.find_id(tx, self._here.accounts.get(plan.draft.account).id, source)
            return runs.header_of(runs.newest_of_source(tx, source_id)) if source_id is not None else None

    def _name(self, draft: Draft, source: Source, school: str) -> str:
        """The name that it is to have, so that it is taken for that source. Raises NotExpected."""
        own = source.of_file(draft.name)
        if own is not None and (not school or own == source.of_file(self._made(draft, source, school))):
            made = draft.name
        elif is_per_school(source) and not school:
            raise NotExpected("Say which school this file is of.")
        else:
            made = self._made(draft, source, school)
        try:
            check_name(made)
        except NameRefused as refused:
            raise NotExpected(str(refused)) from None
        found = self._here.sources.match(draft.account, made)
        if found is None or (found.part_of or found.name) != source.name:
            raise NotExpected("A school's code has letters, digits and hyphens only, and no other file may be meant.")
        return made

    def _made(self, draft: Draft, source: Source, school: str) -> str:
        if school and not re.fullmatch(SCHOOL, school.lower()):
            raise NotExpected("A school's code has letters, digits and hyphens only.")
        day = now().astimezone(ZoneInfo(self._here.accounts.get(draft.account).time_zone)).date()
        return Pattern(source.pattern).name_for(draft.name, day=day, school=school)

    @staticmethod
    def _named(sources: Sequence[Source], name: str) -> Source:
        found = next((one for one in sources if one.name == name), None)
        if found is None:
            raise NotExpected
        return found


def is_per_school(source: Source) -> bool:
    """Whether each school's file of a source is one of its own."""
    return Pattern(source.pattern).is_per_school


def _school_in(source: Source, name: str) -> str:
    """The school's code that a file's name holds; empty if it holds none."""
    found = source.of_file(name)
    if found is None or not is_per_school(source):
        return ""
    before, _, after = Pattern(source.pattern).source_name.partition("{school}")
    return found.name.removeprefix(before).removesuffix(after)


__all__ = ["NotExpected", "Plan", "Sending", "UnreadableFile", "is_per_school"]
