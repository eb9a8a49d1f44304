"""Ways to damage a file: its bytes, the members of a zip, the tree of a JSON text."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x12, 0x22, 0x2D, 0x50, 0x5B, 0x7B)
_WORDS = (b"-1", b"0", b"99999999999999999999", b"null", b"NaN", b"1e999", b'"', b"[", b"{", b"\\q")
_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**70, 1e308, float("nan"), "", "\ud800", "x" * 5000, [], {},
    [[[[]]]], {"a": {}}, "float32", "int8", "../../x", "a\0b",
)  # fmt: skip

_ENTRIES = (
    b"true", b"-1", b"0", b"2", b"9223372036854775808", b"nan", b"-inf", b"1e308", b'""', b'"int8"',
    b'"a\\u0000b"', b'"../../x"', b"[]", b"{}", b'[1, "a"]', b"[nan, 1]", b"[2, 1]", b"[[1], [2]]",
    b"1979-05-27", b'"*"', b'["gptq{bits=99}"]', b'["canonicalize"]', b'{ y = "top1", z = 3 }',
    b"{ latency = -1 }", b"{ latency = nan }", b'"codebook4-weights"', b'"openvino{cpu=x}"',
)  # fmt: skip


def mutated(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """One to four changes; a quarter of the files that have an inside are changed there."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        ways: list[Callable[[bytes, random.Random], bytes]] = [*_PLAIN]
        if content[:2] == b"PK":
            ways += [_zip_member] * 12
        if content[:1] in b"{[":
            ways += [_tree] * 12
        elif b" = " in content:
            ways += [_entry] * 12
        content = chance.choice(ways)(content, chance)
        if others and chance.random() < 0.05:
            content = _spliced(content, chance.choice(others), chance)
    return content


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 4, 16))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _byte(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + bytes([chance.choice(_INTERESTING)]) + content[at + 1 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _remove(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + content[at + chance.choice((1, 2, 8, 64)) :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    at, size = chance.randrange(len(content) + 1), chance.choice((1, 8, 64, 512))
    return content[:at] + content[at : at + size] * chance.choice((2, 3, 50)) + content[at + size :]


def _word(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    word: bytes = chance.choice(_WORDS) * chance.choice((1, 1, 1, 3000))
    return content[:at] + word + content[at:]


def _number(content: bytes, chance: random.Random) -> bytes:
    """Four or eight bytes as a size that is too large, negative or zero."""
    at, size = chance.randrange(len(content) + 1), chance.choice((4, 8))
    value: int = chance.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)) % 2 ** (8 * size)
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


_NO_ZIP = (
    zipfile.BadZipFile, zlib.error, struct.error, ValueError, NotImplementedError, RuntimeError,
    OSError, EOFError, KeyError, IndexError, TypeError,
)  # fmt: skip
_PLAIN = (_flip, _byte, _cut, _remove, _repeat, _word, _number)


def _spliced(content: bytes, other: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def _zip_member(content: bytes, chance: random.Random) -> bytes:
    """A zip whose checksums are right: one member is damaged, left out, renamed or emptied."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(each, archive.read(each)) for each in archive.namelist()]
            method = archive.infolist()[0].compress_type
    except _NO_ZIP:  # damaged before: there is no inside any more
        return _flip(content, chance)
    at = chance.randrange(len(members))
    name, inside = members[at]
    way = chance.randrange(8)
    if way == 0:
        del members[at]
    elif way == 1:
        members[at] = (chance.choice(("x.npy", "in_0_x.npy", "a", "../x.npy", name + "/")), inside)
    elif way == 2:
        members[at] = (name, b"")
    else:
        members[at] = (name, mutated(inside, chance, []))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, inside in members:
            archive.writestr(name, inside)
    return file.getvalue()


def _tree(content: bytes, chance: random.Random) -> bytes:
    """A JSON text in which one value is another one, or nested deep."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return _flip(content, chance)
    places = _places(data)
    if not places:
        return json.dumps(chance.choice(_VALUES)).encode()
    holder, key = chance.choice(places)
    if chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = chance.choice(_VALUES)
    text = json.dumps(data)
    if chance.random() < 0.05:
        text = text.replace("null", "[" * 50_000, 1)
    return text.encode("utf-8", "surrogatepass")


def _entry(content: bytes, chance: random.Random) -> bytes:
    """A TOML text in which one entry has another value, another name or is not there."""
    lines = content.split(b"\n")
    at = chance.choice([i for i, line in enumerate(lines) if b" = " in line] or [0])
    name, _, value = lines[at].partition(b" = ")
    way = chance.randrange(8)
    if way == 0:
        del lines[at]
    elif way == 1:
        other = chance.choice(lines).partition(b" = ")[0]
        lines[at] = other + b" = " + value
    else:
        lines[at] = name + b" = " + chance.choice(_ENTRIES)
    return b"\n".join(lines)


def _places(data: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    pending = [data]
    while pending:
        each = pending.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each))
        for key in keys:
            found.append((each, key))
            if isinstance(each[key], dict | list):
                pending.append(each[key])
    return found
