"""How long threads of this process waited for a core, as the kernel counts it.

A ratio whose every sample was taken with a neighbour on one of the cores is exact and wrong: no
quantile of it is quiet. Only the scheduler knows; other systems than Linux say nothing.
"""

from __future__ import annotations

from pathlib import Path

_TASKS = Path("/proc/self/task")
_NANO = 1e-9


def waited() -> float:
    """Seconds that the threads of this process were ready to run and had no core, so far."""
    try:
        return sum(map(waited_by, _TASKS.iterdir()))
    except OSError:
        return 0.0


def waited_by(task: Path) -> float:
    """The same of one thread.

    The second number of `schedstat` (Linux, Documentation/scheduler/sched-stats.rst).

    Args:
        task: Its folder in /proc; that of a process is its main thread's.

    Returns:
        0 where the thread has ended, or the kernel does not count.
    """
    try:
        return _NANO * int((task / "schedstat").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
