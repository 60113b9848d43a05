"""Which bytes of an upload are there: clients may write several blocks at once, so they come in any order."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Coverage:
    """The bytes that have come: all up to `prefix`, and `islands` beyond it, sorted, apart from each other.

    >>> bytes_ = Coverage()
    >>> bytes_.add(4, 4), bytes_.whole
    (None, False)
    >>> bytes_.add(0, 4), bytes_.whole, bytes_.prefix
    (None, True, 8)
    """

    prefix: int = 0
    islands: list[tuple[int, int]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing between the bytes that have come."""
        return not self.islands

    @property
    def end(self) -> int:
        """Where the furthest byte ends."""
        return self.islands[-1][1] if self.islands else self.prefix

    def add(self, offset: int, length: int) -> None:
        """Note that bytes have come."""
        if not length:
            return
        start, end = offset, offset + length
        if start > self.prefix or self.islands:
            apart = []
            for island in self.islands:
                if island[1] < start or island[0] > end:
                    apart.append(island)
                else:
                    start, end = min(start, island[0]), max(end, island[1])
            self.islands = apart
            if start > self.prefix:
                self.islands = sorted([*apart, (start, end)])
                return
        self.prefix = max(self.prefix, end)
        while self.islands and self.islands[0][0] <= self.prefix:
            self.prefix = max(self.prefix, self.islands.pop(0)[1])

    def cut(self, size: int) -> None:
        """Note that everything from `size` on is gone."""
        self.islands = [(start, min(end, size)) for start, end in self.islands if start < size]
        self.prefix = min(self.prefix, size)
