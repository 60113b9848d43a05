"""Charts as SVG, drawn here: no script, colours by class, and every figure also in a table beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH, _HEIGHT = 640, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 6, 8, 20
_DAY_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: a label, and amounts that stand on each other, by class."""

    label: str
    parts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """One day: when the first file came, and by when it was due, in minutes after midnight; None: not at all."""

    label: str
    came: int | None
    due: int | None


def bars(name: str, title: str, about: str, days: Sequence[Bar]) -> Markup:
    """Stacked bars, one a day. `name` is unique within the page."""
    top = _nice(max((sum(amount for _, amount in day.parts) for day in days), default=0))
    drawn = [_grid(0, "0"), _grid(1, f"{top:,}")] if top else [_grid(0, "0")]
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(days), 1)
    for at, day in enumerate(days):
        below = 0.0
        for kind, amount in day.parts:
            if amount <= 0:
                continue
            height = max(amount / top * _inner(), 1.5)  # what is little among much is still seen
            drawn.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
                ).format(
                    kind,
                    _LEFT + at * step + 1,
                    _HEIGHT - _BOTTOM - below - height,
                    max(step - 2, 1),
                    height,
                    f"{day.label}: {amount:,} {kind}",
                )
            )
            below += height
    return _svg(name, title, about, [*drawn, *_labels([day.label for day in days], step)])


def times(name: str, title: str, about: str, days: Sequence[Dot]) -> Markup:
    """When a file came, one dot a day, and by when it was due, one line a day."""
    drawn = [_grid(share, f"{24 - round(share * 24):02}:00") for share in (0, 0.25, 0.5, 0.75, 1)]
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(days), 1)
    for at, day in enumerate(days):
        left = _LEFT + at * step
        if day.due is not None:
            y = _y(day.due)
            drawn.append(
                Markup('<line class="due" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
                    left + 1, y, left + step - 1, y
                )
            )
        if day.came is not None:
            late = day.due is not None and day.came > day.due
            drawn.append(
                Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>').format(
                    "late" if late else "came", left + step / 2, _y(day.came), f"{day.label}: {clock(day.came)}"
                )
            )
    return _svg(name, title, about, [*drawn, *_labels([day.label for day in days], step)])


def clock(minutes: int | None) -> str:
    """Minutes after midnight as a time of day; of the next day with a plus.

    >>> clock(390), clock(1455), clock(None)
    ('06:30', '00:15 +1', '')
    """
    if minutes is None:
        return ""
    days, rest = divmod(minutes, _DAY_MINUTES)
    return f"{rest // 60:02}:{rest % 60:02}" + (f" +{days}" if days else "")


def _svg(name: str, title: str, about: str, drawn: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        '<title id="{name}-t">{title}</title><desc id="{name}-d">{about}</desc>{drawn}</svg>'
    ).format(width=_WIDTH, height=_HEIGHT, name=name, title=title, about=about, drawn=Markup("").join(drawn))


def _inner() -> int:
    return _HEIGHT - _TOP - _BOTTOM


def _y(minutes: int) -> float:
    """Midnight is at the top, the day goes down."""
    return _TOP + min(minutes, _DAY_MINUTES) / _DAY_MINUTES * _inner()


def _grid(share: float, label: str) -> Markup:
    y = _HEIGHT - _BOTTOM - share * _inner()
    return Markup(
        '<line class="grid" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/><text class="axis end" x="{}" y="{:.1f}">{}</text>'
    ).format(_LEFT, y, _WIDTH - _RIGHT, y, _LEFT - 4, y + 4, label)


def _labels(labels: Sequence[str], step: float) -> list[Markup]:
    """Some of the days' names below, so that none runs into the next."""
    each = max(1, -(-len(labels) // 6))
    return [
        Markup('<text class="axis" x="{:.1f}" y="{}">{}</text>').format(_LEFT + at * step, _HEIGHT - 5, label)
        for at, label in enumerate(labels)
        if at % each == 0
    ]


def _nice(most: int) -> int:
    """A round number that is not below it.

    >>> [_nice(n) for n in (0, 7, 23, 1234)]
    [0, 10, 25, 2000]
    """
    if most <= 0:
        return 0
    scale = 10 ** (len(str(most)) - 1)
    return next(int(step * scale) for step in (1, 2, 2.5, 5, 10) if step * scale >= most)
