"""How fast a step goes, and how long it will still take."""

from __future__ import annotations


def show_rate(speed: float | None) -> str:
    """`12.5/s`, `2.0 s each`, or empty when nothing is known yet."""
    if not speed:
        return ""
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


def show_left(done: int, total: int | None, elapsed: float) -> str:
    """`27 s left`, `3 min left`, or empty when that is not known."""
    if total is None or done <= 0:
        return ""
    left = elapsed * max(0, total - done) / done
    return f"{left:.0f} s left" if left < 90 else f"{left / 60:.0f} min left"


def show_done(done: int, total: int | None, elapsed: float) -> str:
    """`12 of 40, 3.1/s, 9 s left`: what of it is known."""
    of = f"{done}" if total is None else f"{done} of {total}"
    counted = of if done or total is not None else ""
    speed = done / elapsed if elapsed > 0 else None
    parts = (counted, show_rate(speed), show_left(done, total, elapsed))
    return ", ".join(part for part in parts if part)
