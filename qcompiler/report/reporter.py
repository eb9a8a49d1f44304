"""What `progress=` means, wherever it is an option."""

from __future__ import annotations

from qcompiler.errors import ConfigurationError
from qcompiler.pipeline.contract import Progress, Silent


def reporter_of(progress: bool | Progress) -> Progress:
    """What long steps report to: for True a terminal or a notebook, for False nothing.

    Raises:
        ConfigurationError: It is neither, and no `Progress`.
    """
    if isinstance(progress, bool):
        if not progress:
            return Silent()
        from qcompiler.report.progress import shown_progress

        return shown_progress()
    if not all(callable(getattr(progress, each, None)) for each in ("start", "advance", "finish")):
        raise ConfigurationError(
            f"progress is {progress!r}", fix="give True, False, or an object that is a Progress"
        )
    return progress
