"""Troubles: what happens to whom and when, drawn from a seed; and how it is done and undone."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from cluster import Cluster, Part

#: kind -> how often it comes in each round, whom it befalls, and how long it lasts (seconds; the most of a long run).
KINDS: dict[str, tuple[int, str, float]] = {
    "kill processor": (3, "processor", 10),
    "kill door": (2, "door", 10),
    "stop processor": (2, "processor", 60),
    "stop door": (1, "door", 60),
    "restart database, fast": (1, "database", 0),
    "restart database, immediate": (1, "database", 0),
    "fill disk": (1, "disk", 15),
    "cut network": (2, "any", 20),
    "stall network": (2, "any", 45),
}
_NO_DISK = "fill disk"


@dataclass(frozen=True)
class Trouble:
    """What happens: `at` seconds after the beginning, for so many seconds."""

    at: float
    kind: str
    victim: str
    seconds: float


def plan(seed: int, seconds: float, victims: list[str], *, longest: float, disk: bool) -> list[Trouble]:
    """The troubles of a run; the same for the same arguments.

    Every kind comes in each round, in another order; as many rounds as fill the time. No two befall one victim at once.
    """
    rng = random.Random(f"trouble {seed}")
    deck = [kind for kind, (often, _, _) in KINDS.items() for _ in range(often) if disk or kind != _NO_DISK]
    gap = min(6.0, seconds / (len(deck) + 1))
    drawn: list[Trouble] = []
    free = dict.fromkeys([*victims, "database", "disk"], 0.0)
    at = gap / 2
    while at < seconds:
        rng.shuffle(deck)
        for kind in deck:
            _, whom, most = KINDS[kind]
            possible = [one for one in free if one.startswith(whom) or (whom == "any" and one in victims)]
            victim = min(rng.sample(possible, len(possible)), key=lambda one: free[one] > at)
            begin = max(at, free[victim])
            lasts = round(rng.uniform(0.2, 1) * min(most, longest), 1)
            if begin < seconds:
                drawn.append(Trouble(round(begin, 1), kind, victim, lasts))
            free[victim] = begin + lasts + 1
            at += rng.uniform(0.5, 1.5) * gap
    return sorted(drawn, key=lambda one: one.at)


class Troubles:
    """Carries a plan out."""

    def __init__(self, cluster: Cluster, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._say = say
        self.done: Counter[str] = Counter()
        self.problems: list[str] = []
        self._down: set[str] = set()

    async def carry_out(self, planned: list[Trouble]) -> None:
        """Returns when all is over and undone."""
        began = time.monotonic()
        keeper = asyncio.create_task(self._keep_running())
        async with asyncio.TaskGroup() as group:
            for trouble in planned:
                await asyncio.sleep(max(0.0, trouble.at - (time.monotonic() - began)))
                lasts = f" for {trouble.seconds} s" if trouble.seconds else ""
                self._say(f"{trouble.kind}: {trouble.victim}{lasts}")
                self.done[trouble.kind] += 1
                group.create_task(self._befall(trouble))
        keeper.cancel()

    async def _befall(self, trouble: Trouble) -> None:
        cluster = self._cluster
        part = cluster.parts.get(trouble.victim)
        if part is None:
            if trouble.kind == _NO_DISK:
                cluster.fill_disk()
                await asyncio.sleep(trouble.seconds)
                cluster.empty_disk()
                return
            await asyncio.to_thread(cluster.postgresql.control, "restart", "-m", trouble.kind.rpartition(" ")[2])
            return
        match trouble.kind.split()[0]:
            case "kill":
                await self._kill(part, trouble.seconds)
            case "stop":
                part.signal(signal.SIGSTOP)
                await asyncio.sleep(trouble.seconds)
                part.signal(signal.SIGCONT)
            case "cut":
                part.relay.cut()
                await asyncio.sleep(trouble.seconds)
                part.relay.heal()
            case "stall":
                part.relay.stall()
                await asyncio.sleep(trouble.seconds)
                part.relay.heal()

    async def _kill(self, part: Part, seconds: float) -> None:
        self._down.add(part.name)
        await asyncio.to_thread(part.kill)
        await asyncio.sleep(seconds)
        part.start()
        self._down.discard(part.name)

    async def _keep_running(self) -> None:
        """What ends by itself is started again, as systemd does it: a defect, unless its start found no database."""
        while True:
            for part in self._cluster.parts.values():
                if part.died and part.name not in self._down:
                    assert part.process
                    told = f"{part.name} ended by itself with {part.process.returncode}"
                    if part.has_found_no_database:
                        self.done["a start found no database (it was started again)"] += 1
                    else:
                        self.problems.append(told)
                    self._say(told)
                    part.start()
            await asyncio.sleep(0.5)
