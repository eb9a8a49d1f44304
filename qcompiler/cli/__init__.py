"""The command line: a thin shell over the library, one file per command.

Exit codes: 0 done, 1 failed, 2 wrong usage or options, 130 interrupted. An interrupted search still
writes the best that it found; interrupted earlier, nothing is written. Messages go to standard
error, results to standard output. Files appear whole or not at all. What a command needs is
imported when it runs, so that help and completion answer at once.
"""

from __future__ import annotations

import gc
import sys

from qcompiler.cli import (  # noqa: F401 - each adds its command
    bench,
    compare,
    compile,  # noqa: A004 - the command's name
    debug,
    demo,
    inspect,
    lint,
    ops,
    passes,
    plan,
    run_pipeline,
    targets,
    verify,
)
from qcompiler.cli.app import app
from qcompiler.cli.console import INTERRUPTED, complain, guarded_output, with_debug_first

__all__ = ["app", "main"]


def main() -> None:
    """The `qcompiler` command."""
    try:
        with guarded_output():
            app(with_debug_first(sys.argv[1:]), prog_name="qcompiler")
    except KeyboardInterrupt:  # while a command is still being looked up
        complain("interrupted")
        sys.exit(INTERRUPTED)
    finally:
        gc.freeze()  # at exit nothing of a large model is looked through for cycles
