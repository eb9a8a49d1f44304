"""What a shell is told when Tab is pressed: commands and options that begin so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def _completed(line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        **os.environ,
        "_QCOMPILER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "qcompiler"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("qcompiler ins", ["inspect"]),
        ("qcompiler plan sh", ["show"]),
        ("qcompiler compile --sche", ["--scheme"]),
        ("qcompiler frob", []),
    ],
)
def test_what_is_offered(line: str, offered: list[str]) -> None:
    assert _completed(line) == offered
