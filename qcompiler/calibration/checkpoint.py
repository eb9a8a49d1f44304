"""Calibration state in a file, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.instrument import FloatModel
from qcompiler.calibration.recorder import Observations
from qcompiler.errors import CalibrationError, ConfigurationError
from qcompiler.files.reading import Door, Kind, cause
from qcompiler.files.writing import replace_file
from qcompiler.ir.requests import RANGE, Request
from qcompiler.ir.signature import Feed, arrays_of, content
from qcompiler.quantization.observers import Observer, observer_from_state
from qcompiler.statistics.kinds import collector
from qcompiler.statistics.statistic import Statistic

_FORMAT = 4
_HEADER = "header"
_DIGEST = "digest"


@dataclass(frozen=True)
class Checkpoint:
    """What is known after the first `samples` feeds.

    Attributes:
        fingerprint: Of the model and the observed sites.
        samples: Feeds that are in.
        data: Digest of these feeds, so that a resumed run notices other data.
        observations: Statistics by request.
    """

    fingerprint: str
    samples: int = 0
    data: str = ""
    observations: Observations = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes an npz file, whole or not at all.

        Raises:
            ArtifactError: Not writable.
        """
        names = list(self.observations)
        header = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "samples": self.samples,
            "data": self.data,
            "values": [request.line() for request in names],
        }
        arrays: dict[str, npt.NDArray[Any]] = {_HEADER: np.asarray(json.dumps(header))}
        for index, name in enumerate(names):
            for key, array in self.observations[name].state().items():
                arrays[f"{index}/{key}"] = array
        arrays[_DIGEST] = np.asarray(_digest(arrays))
        replace_file(path, lambda new: _write(arrays, new))


def read_checkpoint(path: Path, fingerprint: str) -> Checkpoint:
    """The checkpoint in a file, or an empty one if there is no file.

    Raises:
        CalibrationError: Damaged, or of another model or other settings.
    """
    if _CHECKPOINT.kind(path) is Kind.MISSING:
        return Checkpoint(fingerprint)
    _PLACE.require_file(path)
    if not _is_zip(path):
        raise _CHECKPOINT.failure(path, "it is no checkpoint", fix=_PLACE.fix)
    with _CHECKPOINT.reading(path), np.load(path, allow_pickle=False) as arrays:
        found = _parse({name: arrays[name] for name in arrays.files})
    if found.fingerprint != fingerprint:
        raise CalibrationError(
            f"the checkpoint {path} belongs to another model or other calibration settings",
            fix="delete it, or give another checkpoint path",
        )
    return found


def fingerprint(model: FloatModel) -> str:
    """Identifies a model, its weights and what is observed of it."""
    sites = [site.request.line() for site in model.sites]
    return hashlib.blake2b(f"{model.packed.digest} {sites}".encode(), digest_size=16).hexdigest()


def chain_digest(before: str, feed: Feed) -> str:
    """Digest of a sequence of feeds, from that of all but the last and the last one."""
    total = hashlib.blake2b(before.encode(), digest_size=16)
    for name, array in sorted(arrays_of(feed), key=lambda pair: pair[0]):
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(content(array))
    return total.hexdigest()


def _parse(arrays: dict[str, npt.NDArray[Any]]) -> Checkpoint:
    """Raises anything for a damaged file, `ValueError` where it says why."""
    header = json.loads(str(arrays[_HEADER]))
    if header["format"] != _FORMAT:
        raise ValueError(f"format {header['format']} is not {_FORMAT}")
    if str(arrays.pop(_DIGEST)) != _digest(arrays):
        raise ValueError("its content was changed after it was written")
    states: dict[int, dict[str, npt.NDArray[Any]]] = {}
    for name, array in arrays.items():
        index, slash, key = name.partition("/")
        if slash:
            states.setdefault(int(index), {})[key] = array
    return Checkpoint(
        str(header["fingerprint"]),
        int(header["samples"]),
        str(header["data"]),
        {
            request: _statistic(request, states.get(index, {}))
            for index, request in enumerate(map(Request.from_line, header["values"]))
        },
    )


def _statistic(request: Request, state: dict[str, npt.NDArray[Any]]) -> Observer | Statistic:
    try:
        if request.kind == RANGE:
            return observer_from_state(state)
        empty = collector(request)
        assert isinstance(empty, Statistic)
        return empty.restored(state)
    except (CalibrationError, ConfigurationError) as error:
        raise ValueError(f"{cause(error)} (value '{request.value}')") from error


def _digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Of everything in the file: an archive only tells damage of its bytes."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _is_zip(path: Path) -> bool:
    with _CHECKPOINT.reading(path), path.open("rb") as file:
        return file.read(2) in (b"PK", b"")


def _write(arrays: Mapping[str, npt.NDArray[Any]], new: Path) -> None:
    """Through a file object: given a path, numpy puts `.npz` after it."""
    with new.open("wb") as file:
        np.savez(file, **dict(arrays))  # type: ignore[arg-type]


_CHECKPOINT = Door("the checkpoint", CalibrationError, fix="delete it to calibrate from the start")
_PLACE = Door("the checkpoint", CalibrationError, fix="give the path of a file, new or old")
