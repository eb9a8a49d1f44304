"""Pipelines as text: `fuse-conv-bn,insert-observers{method=percentile},fixed-point(a,b)`.

Grammar: `pipeline = pass ("," pass)*`, `pass = name options? children?`,
`options = "{" key "=" value ("," key "=" value)* "}"`, `children = "(" pipeline ")"`,
`value = word | JSON string | "[" values "]"`. Space between tokens is ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from qcompiler.errors import PipelineError
from qcompiler.pipeline.combinators import Combinator
from qcompiler.pipeline.contract import Pass
from qcompiler.pipeline.options import WORD, Quoted, Value, read_options, show_options
from qcompiler.target.contract import Target

_TOKEN = re.compile(rf'\s*(?:(?P<word>{WORD.pattern})|(?P<string>"(?:[^"\\]|\\.)*")|(?P<mark>.))')

_DEEPEST = 50
"""Levels of brackets: reading and building go down as deep as the text does."""
_SHOWN = 60
"""Characters of the text that an error shows on each side of its place."""


@dataclass(frozen=True)
class PassText:
    """One pass as written: name, options, and the passes in parentheses."""

    name: str
    options: dict[str, Value] = field(default_factory=dict)
    children: tuple[PassText, ...] | None = None


def parse(text: str) -> tuple[PassText, ...]:
    """Reads a pipeline text; an empty text is an empty pipeline.

    Raises:
        PipelineError: The text breaks the grammar; the message points at the place.
    """
    if not isinstance(text, str):
        raise PipelineError(
            f"a pipeline is given as a {type(text).__name__}",
            fix="give a text such as 'canonicalize,fuse-conv-bn'",
        )
    reader = _Reader(text)
    if reader.at_end():
        return ()
    found = reader.pipeline()
    if not reader.at_end():
        raise reader.error("',' or the end")
    return found


def build(written: PassText, find: Callable[[str], type[Pass]]) -> Pass:
    """Makes the pass that the text describes.

    Args:
        written: A parsed pass.
        find: Name to pass class, such as `registry.find_pass`.

    Raises:
        PipelineError: A wrong option, or children for a pass that takes none (or the reverse).
    """
    cls = find(written.name)
    combines = issubclass(cls, Combinator)
    if combines != (written.children is not None):
        fix = f"write {written.name}(a,b)" if combines else "remove the parentheses"
        verb = "needs" if combines else "takes no"
        raise PipelineError(f"'{written.name}' {verb} passes in parentheses", fix=fix)
    options = read_options(cls, written.options, written.name)
    if written.children is not None:
        options["passes"] = tuple(build(child, find) for child in written.children)
    try:
        return cls(**options)
    except TypeError as error:
        raise PipelineError(
            f"'{written.name}' cannot be made from these options",
            why=str(error),
            fix=f"see `qcompiler passes describe {written.name}`",
        ) from error


def build_target(written: str, find: Callable[[str], type[Target]]) -> Target:
    """Makes a target from `name` or `name{option=value}`.

    Raises:
        PipelineError: The text breaks the grammar, or an option is wrong.
        RegistryError: An unknown target.
    """
    found = parse(written)
    if len(found) != 1 or found[0].children is not None:
        raise PipelineError(
            "a target is written name or name{option=value}",
            where=repr(written),
            fix="give one of qcompiler.targets(), such as 'onnxruntime{threads=2}'",
        )
    cls = find(found[0].name)
    return cls(**read_options(cls, found[0].options, found[0].name))


def show(passes: Sequence[Pass]) -> str:
    """The text that `parse` and `build` read back; foreign passes show as `<...>`."""
    return ",".join(show_pass(each) for each in passes)


def show_pass(each: Pass) -> str:
    """One pass as text: name, options that differ from their defaults, children."""
    if type(each).__str__ is not object.__str__:
        return str(each)
    options = ",".join(show_options(each))
    text = each.name + (f"{{{options}}}" if options else "")
    return f"{text}({show(each.passes)})" if isinstance(each, Combinator) else text


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [
            (
                match.lastgroup or "",
                match.group(match.lastgroup or 0),
                match.start(match.lastgroup or 0),
            )
            for match in _TOKEN.finditer(text.rstrip())
        ]
        self._next = 0
        self._depth = 0

    def at_end(self) -> bool:
        return self._next >= len(self._tokens)

    def pipeline(self) -> tuple[PassText, ...]:
        found = [self._pass()]
        while self._take(","):
            found.append(self._pass())
        return tuple(found)

    def error(self, expected: str) -> PipelineError:
        place = len(self._text) if self.at_end() else self._tokens[self._next][2]
        return PipelineError(
            f"the pipeline text cannot be read: expected {expected} at column {place + 1}",
            where=f"{_end(self._text[:place])} >>> {_start(self._text[place:])}",
            fix="write names with commas between, options in braces: "
            "canonicalize,fuse-conv-bn{option=value}",
        )

    def _pass(self) -> PassText:
        name = self._word("a pass name")
        options = self._options() if self._take("{") else {}
        children = None
        if self._take("("):
            with self._nested():
                children = self.pipeline()
            self._expect(")")
        return PassText(name, options, children)

    def _options(self) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while not self._take("}"):
            if found:
                self._expect(",")
            key = self._word("an option name")
            if key in found:
                raise PipelineError(
                    f"option '{key}' is given twice", where=self._text, fix="give it once"
                )
            self._expect("=")
            found[key] = self._value()
        return found

    def _value(self) -> Value:
        if self._take("["):
            items: list[Value] = []
            with self._nested():
                while not self._take("]"):
                    if items:
                        self._expect(",")
                    items.append(self._value())
            return tuple(items)
        if not self.at_end() and self._tokens[self._next][0] == "string":
            return self._string()
        return self._word("a value")

    def _string(self) -> Quoted:
        try:
            found = Quoted(json.loads(self._tokens[self._next][1]))
        except ValueError as error:  # an escape that JSON does not have, or a control character
            raise self.error("a JSON string") from error
        self._next += 1
        return found

    @contextmanager
    def _nested(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self.error(f"at most {_DEEPEST} levels of brackets")
        yield
        self._depth -= 1

    def _word(self, expected: str) -> str:
        if self.at_end() or self._tokens[self._next][0] != "word":
            raise self.error(expected)
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _take(self, mark: str) -> bool:
        if self.at_end() or self._tokens[self._next][:2] != ("mark", mark):
            return False
        self._next += 1
        return True

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            raise self.error(f"'{mark}'")


def _start(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _end(text: str) -> str:
    return text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}"
