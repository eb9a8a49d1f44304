"""What figures depend on: versions, processor, threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from qcompiler.search.cache import processor
from qcompiler.target.contract import Target
from qcompiler.version import own_version


def environment_of(target: Target) -> Mapping[str, str]:
    """Name and value of each, in the order they are shown; nothing that names the user."""
    threads = getattr(target, "threads", None)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {
        "qcompiler": own_version(),
        "target": repr(target),
        "engine": target.engine_version,
        "processor": processor(),
        "cores": str(cores or "unknown"),
        "threads": "the engine's default" if threads is None else str(threads),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return {name: value for name, value in found.items() if value}
