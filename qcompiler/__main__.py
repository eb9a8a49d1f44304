"""The command line, by `qcompiler` and `python -m qcompiler`."""

from __future__ import annotations

import sys


def main() -> None:
    """The `qcompiler` command; Ctrl-C while it is being loaded ends it as later."""
    try:
        from qcompiler import cli
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        _forget_interruption()
        sys.exit(130)
    try:
        cli.main()
    finally:
        _forget_interruption()


def _forget_interruption() -> None:
    """Lets the process end with its own code after Ctrl-C.

    CPython notes where a text that it evaluates is interrupted (`dataclass` and `namedtuple` make
    methods of texts), and with `python -m` ends by SIGINT for it, also if the exception was caught.
    The next text that it evaluates takes that back (`run_eval_code_obj` in pythonrun.c).
    """
    eval("None")


if __name__ == "__main__":
    main()
