"""`python -m qcompiler.cli`: as `python -m qcompiler`."""

from qcompiler.cli import main

main()
