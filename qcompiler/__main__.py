"""The command line, by `qcompiler` and `python -m qcompiler`."""

from __future__ import annotations

import sys


def main() -> None:
    """The `qcompiler` command; Ctrl-C while it is being loaded ends it as later."""
    try:
        from qcompiler import cli
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
