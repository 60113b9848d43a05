"""A slow and far link between two network namespaces, for root: netem where the kernel has it, else this script itself.

The namespaces are joined by a pair of TUN devices. What one sends is read here packet by packet, waits its turn at the
link's rate in a queue of bounded length, travels for the delay, and is handed to the other: what netem does. Between
them everything is the kernel's own, TCP above all.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MTU = 1500
QUEUE_SECONDS = 0.2
"""What waits longer for its turn is dropped."""


@dataclass(frozen=True)
class Link:
    """The two ends: namespaces, and the address of the far one."""

    near: str
    far: str
    address: str
    kind: str

    def at(self, namespace: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", namespace, *command]


@contextlib.contextmanager
def link(rate: int, delay: float) -> Iterator[Link]:
    """A link of so many bytes a second, so many seconds from end to end and back together."""
    near, far = f"lznear{os.getpid()}", f"lzfar{os.getpid()}"
    made = Link(near, far, "10.77.0.2", "netem")
    relay = None
    try:
        for name in (near, far):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        if not with_netem(made, rate, delay):
            made = Link(near, far, made.address, "a relay of packets (this kernel has no netem)")
            command = made.at(near, sys.executable, __file__, near, far, str(rate), str(delay))
            relay = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert relay.stdout
            assert relay.stdout.readline() == b"ready\n"
        for name, address in ((near, "10.77.0.1"), (far, made.address)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "link0")
            ip("-n", name, "link", "set", "link0", "mtu", str(MTU), "up")
        yield made
    finally:
        if relay is not None:
            relay.terminate()
            relay.wait()
        for name in (near, far):
            subprocess.run(["ip", "netns", "del", name], check=False)


def with_netem(made: Link, rate: int, delay: float) -> bool:
    """A pair of veth devices with netem on both; False if the kernel has none."""
    ip("-n", made.near, "link", "add", "name", "link0", "type", "veth", "peer", "name", "link0", "netns", made.far)
    packets = str(int(rate * (QUEUE_SECONDS + delay) / MTU))
    shape = ("netem", "delay", f"{delay * 500:g}ms", "rate", f"{rate * 8}bit", "limit", packets)
    for name in (made.near, made.far):
        command = ["tc", "-n", name, "qdisc", "add", "dev", "link0", "root", *shape]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            ip("-n", made.near, "link", "del", "link0")
            return False
    return True


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


# The relay


def tun() -> int:
    """A TUN device called link0 in this process's namespace: its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"link0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return descriptor


def enter(namespace: str) -> None:
    with Path(f"/run/netns/{namespace}").open("rb") as file:
        assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0) == 0


def relay(near: str, far: str, rate: int, delay: float) -> None:
    """Carry packets both ways, until killed."""
    enter(near)
    ends = [tun()]
    enter(far)
    ends.append(tun())
    print("ready", flush=True)
    free_at = [0.0, 0.0]
    under_way: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, to, packet = heapq.heappop(under_way)
            with contextlib.suppress(OSError):
                os.write(ends[to], packet)
        wait = min(0.05, under_way[0][0] - time.monotonic()) if under_way else 0.05
        ready, _, _ = select.select(ends, [], [], max(0.0, wait))
        for end in ready:
            side = ends.index(end)
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    packet = os.read(end, MTU + 100)
                    now = time.monotonic()
                    turn = max(now, free_at[side])
                    if turn - now > QUEUE_SECONDS:
                        continue
                    free_at[side] = turn + len(packet) / rate
                    number += 1
                    heapq.heappush(under_way, (free_at[side] + delay / 2, number, 1 - side, packet))


if __name__ == "__main__":
    relay(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
