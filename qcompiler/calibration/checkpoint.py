"""Calibration state in a file, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.calibration.instrument import FloatModel
from qcompiler.calibration.recorder import Observations
from qcompiler.errors import ArtifactError, CalibrationError
from qcompiler.ir.signature import Feed
from qcompiler.quantization.observers import observer_from_state

_FORMAT = 1
_HEADER = "header"


@dataclass(frozen=True)
class Checkpoint:
    """What is known after the first `samples` feeds.

    Attributes:
        fingerprint: Of the model and the observed sites.
        samples: Feeds that are in.
        data: Digest of these feeds, so that a resumed run notices other data.
        observations: Observers by value name.
    """

    fingerprint: str
    samples: int = 0
    data: str = ""
    observations: Observations = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes an npz file under a temporary name and renames it.

        Raises:
            ArtifactError: Not writable.
        """
        names = list(self.observations)
        header = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "samples": self.samples,
            "data": self.data,
            "values": names,
        }
        arrays: dict[str, npt.NDArray[Any]] = {_HEADER: np.asarray(json.dumps(header))}
        for index, name in enumerate(names):
            for key, array in self.observations[name].state().items():
                arrays[f"{index}/{key}"] = array
        try:
            _write_atomically(path, arrays)
        except OSError as error:
            raise ArtifactError(f"cannot write the checkpoint {path}", why=str(error)) from error


def read_checkpoint(path: Path, fingerprint: str) -> Checkpoint:
    """The checkpoint in a file, or an empty one if there is no file.

    Raises:
        CalibrationError: Damaged, or of another model or other settings.
    """
    if not path.exists():
        return Checkpoint(fingerprint)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = _parse({name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    except CalibrationError as error:
        raise _damaged(path, error.why or error.what) from error
    if found.fingerprint != fingerprint:
        raise CalibrationError(
            f"the checkpoint {path} belongs to another model or other calibration settings",
            fix="delete it, or give another checkpoint path",
        )
    return found


def fingerprint(model: FloatModel) -> str:
    """Identifies a model, its weights and what is observed of it."""
    sites = [(s.value, s.method, sorted(s.options.items())) for s in model.sites]
    return hashlib.blake2b(f"{model.packed.digest} {sites}".encode(), digest_size=16).hexdigest()


def chain_digest(before: str, feed: Feed) -> str:
    """Digest of a sequence of feeds, from that of all but the last and the last one."""
    total = hashlib.blake2b(before.encode(), digest_size=16)
    for name in sorted(feed):
        array = np.ascontiguousarray(feed[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _parse(arrays: Mapping[str, npt.NDArray[Any]]) -> Checkpoint:
    header = json.loads(str(arrays[_HEADER]))
    if header["format"] != _FORMAT:
        raise ValueError(f"format {header['format']} is not {_FORMAT}")
    states: dict[int, dict[str, npt.NDArray[Any]]] = {}
    for name, array in arrays.items():
        index, slash, key = name.partition("/")
        if slash:
            states.setdefault(int(index), {})[key] = array
    observations = {
        name: observer_from_state(states[index]) for index, name in enumerate(header["values"])
    }
    return Checkpoint(header["fingerprint"], int(header["samples"]), header["data"], observations)


def _damaged(path: Path, why: str) -> CalibrationError:
    return CalibrationError(
        f"the checkpoint {path} is damaged", why=why, fix="delete it to calibrate from the start"
    )


def _write_atomically(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **dict(arrays))  # type: ignore[arg-type]
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
