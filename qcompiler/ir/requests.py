"""`Request`: what is to be observed of a value while calibration data runs through a program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from qcompiler.errors import ConfigurationError, UnreadableModelError

RANGE = "range"
"""Kind of the requests that ranges are taken from: their results are `program.observations`."""
MARK = "# observe "
"""What a request begins with in the text of a program."""

Option = str | int | float | bool


@dataclass(frozen=True)
class Request:
    """One statistic of one value. Hashable: results are kept by request.

    Attributes:
        value: The value's name, unique in the program, subgraphs included.
        kind: A name in `qcompiler.statistics.kinds.KINDS`.
        options: Options of the kind, sorted by name.

    Raises:
        ConfigurationError: A value without a name.
    """

    value: str
    kind: str = RANGE
    options: tuple[tuple[str, Option], ...] = ()

    def __post_init__(self) -> None:
        if not self.value:
            raise ConfigurationError("a value without a name cannot be observed")
        object.__setattr__(self, "options", tuple(sorted(self.options)))

    @classmethod
    def of(cls, value: str, kind: str = RANGE, /, **options: Option) -> Request:
        """A request with its options by name."""
        return cls(value, kind, tuple(options.items()))

    @property
    def given(self) -> Mapping[str, Option]:
        """The options by name."""
        return dict(self.options)

    def line(self) -> str:
        """As a line of a program's text; ONNX's parser takes it for a comment."""
        return f"{MARK}{json.dumps(self.value)}: {self.kind} {json.dumps(self.given)}"

    @classmethod
    def from_line(cls, line: str) -> Request:
        """Reads what `line` wrote.

        Raises:
            UnreadableModelError: Not such a line.
        """
        text = line.strip().removeprefix(MARK)
        try:
            value, end = json.JSONDecoder().raw_decode(text)
            kind, _, options = text[end:].lstrip(": ").partition(" ")
            given = json.JSONDecoder().raw_decode(options)[0]
            return cls(str(value), kind, tuple(given.items()))
        except (ValueError, AttributeError) as error:
            raise UnreadableModelError(
                f"'{line.strip()}' asks for no statistic",
                why=str(error),
                fix=f'write {MARK}"value": range {{"method": "minmax"}}',
            ) from error
