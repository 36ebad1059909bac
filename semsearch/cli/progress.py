"""How far the work is: a bar with texts per second and time left on a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from semsearch.cli.render import say, screen
from semsearch.controls import one_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

INTERVAL = 10.0  # seconds between the lines for programs
WINDOW = 30.0  # seconds over which speed is measured: a resumed run first races through what is there already


JUMP = 2.0  # times more or less time left than was told, which is told at once


class Step(Protocol):
    """What the collection tells while it adds."""

    @property
    def documents(self) -> int:
        """Read so far."""
        ...

    @property
    def passages(self) -> int:
        """Encoded so far."""
        ...

    @property
    def unchanged(self) -> int:
        """Documents that needed nothing."""
        ...


class Pace:
    """Speed and time left, from what happened in the last `WINDOW` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: deque[tuple[float, int, float]] = deque()
        self._left: tuple[float, float] | None = None  # when it was reckoned, and what came out

    def record(self, texts: int, fraction: float) -> None:
        """Note that `texts` were encoded and this `fraction` of the source was done by now (0: nobody knows)."""
        now = self._clock()
        self._past.append((now, texts, fraction))
        while len(self._past) > 2 and now - self._past[1][0] >= WINDOW:
            self._past.popleft()
        self._left = self._steadied(now)

    def _steadied(self, now: float) -> tuple[float, float] | None:
        """The time left as it was told before goes on as a clock does, and turns slowly to what is reckoned now."""
        found = self._reckoned()
        if found is None:
            return None
        if self._left is not None:
            then, before = self._left
            expected = max(0.0, before - (now - then))
            if expected / JUMP <= found <= expected * JUMP:  # beyond, something else has begun
                found = expected + min(1.0, (now - then) / WINDOW) * (found - expected)
        return now, found

    @property
    def speed(self) -> float:
        """Texts per second."""
        if len(self._past) < 2:
            return 0.0
        (began, first, _), (now, last, _) = self._past[0], self._past[-1]
        return (last - first) / (now - began) if now > began else 0.0

    @property
    def left(self) -> float | None:
        """Seconds to the end of the source; None while that can't be told."""
        if self._left is None:
            return None
        then, found = self._left
        return max(0.0, found - (self._clock() - then))

    def _reckoned(self) -> float | None:
        """The time left by the speed in the window."""
        if len(self._past) < 2:
            return None
        (began, _, first), (now, _, last) = self._past[0], self._past[-1]
        if last <= first or last >= 1:  # all is read, and how much of it is still to be encoded nobody knows
            return None
        return max(0.0, (1.0 - last) * (now - began) / (last - first))


def duration(seconds: float | None) -> str:
    """Seconds as a clock shows them.

    >>> duration(3725)
    '1:02:05'
    """
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Meter:
    """Shows the progress of an `add`; hand it over as `progress=`. `fraction` tells how much of the source is read."""

    def __init__(
        self, name: str, fraction: Callable[[], float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._fraction = fraction
        self._clock = clock
        self._pace = Pace(clock)
        self._said = clock()
        self._finished: int | None = None
        self._bar: Bar | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[state]}", markup=False),
                console=screen(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(one_line(self._name), total=None, state="opening the model")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, step: Step) -> None:
        """Show how far it is."""
        self._note(step)
        speed, left = self._pace.speed, self._pace.left
        if self._bar is not None:
            fraction = self._fraction()
            pace = (
                f"{speed:,.{0 if speed >= 10 else 1}f} texts/s · {duration(left)} left" if step.passages else "encoding"
            )
            passages = f" · {step.passages:,} passages" if step.passages else ""
            state = f"{step.documents:,} documents{passages} · {pace}"
            self._bar.update(
                self._task, total=None if fraction is None else 1.0, completed=fraction or 0.0, state=state
            )
        elif self._clock() - self._said >= INTERVAL:
            self._said = self._clock()
            words = [f"documents={step.documents}", f"passages={step.passages}", f"texts_per_s={speed:.1f}"]
            say(" ".join(["progress", *words, *([f"left_s={left:.0f}"] if left is not None else [])]))

    def _note(self, step: Step) -> None:
        """Documents are read ahead of being encoded: what counts as done is what a commit or a comparison finished."""
        finished = step.passages + step.unchanged
        if self._finished is None:
            self._pace.record(0, 0.0)
        elif finished > self._finished:
            self._pace.record(step.passages, self._fraction() or 0.0)
        self._finished = finished
