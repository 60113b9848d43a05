"""The network is cut at random moments: an upload arrives exactly once, or its exit code and its log say why not."""

import json
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from upload.outcome import Ending, worst

SERVICE = "_shared_whole"

SEED = 6
ACCOUNTS = 10
FILES = 20
"""Of each account: 200 uploads in all."""


def students(random_: random.Random, start: int, count: int) -> str:
    head = '"Student ID","First Name","Last Name","Phone Number","School ID"\r\n'
    names = ["".join(random_.choices("abcdefghijklmnopqrstuvwxyz", k=12)).title() for _ in range(2 * count)]
    people = zip(names[::2], names[1::2], strict=True)
    rows = (
        f'"{start + n}","{first}","{last}","20655501{n % 100:02}","001"\r\n' for n, (first, last) in enumerate(people)
    )
    return head + "".join(rows)


def test_200_uploads_arrive_exactly_once_or_say_why_not(
    here: Any, service: Any, make_uploader: Callable[..., Any], make_trouble: Callable[..., Any], account: str
) -> None:
    trouble, chance, feed = make_trouble(SEED), random.Random(SEED), here.catalogue.get("students")
    uploaders = []
    for number in range(ACCOUNTS):
        uploader = make_uploader(service, f"{account}-{number}", port=trouble.port)
        uploader.extra = f'compress = "{"never" if number % 2 else "auto"}"'
        sources = ""
        for at in range(FILES):
            here.sources.expect(uploader.account, f"roll{at}.csv", feed=feed, actor="test")
            uploader.file(f"roll{at}.csv", students(chance, at * 10_000, int(2 ** chance.uniform(3, 11))))
            sources += (
                f'[[source]]\nname = "roll{at}"\nfeed = "students"\nfile = "roll{at}.csv"\nsend_as = "roll{at}.csv"\n'
            )
        uploader.extra += f"\n{sources}"
        uploader.settle()
        uploaders.append(uploader)
    with ThreadPoolExecutor(ACCOUNTS) as threads:
        runs = list(threads.map(lambda one: one.run(75, silence=2.0, first=0.05, longest=0.5), uploaders))
    endings, seen = Counter[str](), Counter[str]()
    for uploader, attempts in zip(uploaders, runs, strict=True):
        landed = Counter(one.sha256 for one in service.landed(uploader.account))
        assert len(attempts) == FILES
        for attempt in attempts:
            endings[attempt.ending.name] += 1
            if attempt.ending in {Ending.IMPORTED, Ending.IMPORTED_WITH_REJECTS, Ending.HELD}:
                assert landed[attempt.sha256] == 1, (attempt, uploader.log())
            else:
                assert landed[attempt.sha256] <= 1, (attempt, uploader.log())
                assert attempt.why
                assert worst(one.ending for one in attempts) != 0
        assert set(landed) <= {one.sha256 for one in attempts}
        events = [json.loads(line) for line in uploader.log().splitlines()]
        seen.update(event["event"] for event in events)
        ended = {event["source"]: event["ending"] for event in events if event["event"] == "source.ended"}
        assert ended == {one.key: one.ending.name for one in attempts}
    assert endings["IMPORTED"] >= 150, endings
    assert all(trouble.met[fate] for fate in ("drop", "reset", "stall", "deafen")), trouble.met
    assert seen["attempt.failed"] >= 20, seen
    assert seen["upload.resumed"], seen
