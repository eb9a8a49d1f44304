"""How long threads of this process waited for a core, as the kernel counts it.

A ratio whose every sample was taken with a neighbour on one of the cores is exact and wrong: no
quantile of it is quiet. Only the scheduler knows; other systems than Linux say nothing.
"""

from __future__ import annotations

from pathlib import Path

_TASKS = Path("/proc/self/task")
_NANO = 1e-9


def waited() -> float:
    """Seconds that the threads of this process were ready to run and had no core, so far.

    The second number of `schedstat` (Linux, Documentation/scheduler/sched-stats.rst) of every
    thread that lives; 0 where there is no such file.
    """
    total = 0
    try:
        tasks = list(_TASKS.iterdir())
    except OSError:
        return 0.0
    for task in tasks:
        try:
            total += int((task / "schedstat").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError, ValueError):
            continue  # the thread has ended, or the kernel does not count
    return _NANO * total
