"""What the site needs done to a page: fences with plain info strings, no links out of docs/."""

from __future__ import annotations

import re
from typing import Any

_FENCE = re.compile(r"^```(\w+) +(?:needs|no-run): .*$", re.MULTILINE)
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page's text as Markdown extensions take it; the tests read the words behind a fence."""
    return _OUTSIDE.sub(r"\1", _FENCE.sub(r"```\1", markdown))
