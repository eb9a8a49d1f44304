"""What a `.pte` says of itself besides its program: calling convention, limits, kernels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from qcompiler.errors import ArtifactError, LoweringError
from qcompiler.execution.making import Making
from qcompiler.files.writing import replace_file
from qcompiler.ir.program import OWN_DOMAIN, Program, Provenance
from qcompiler.ir.signature import Feed, Signature, TensorSpec
from qcompiler.target.artifact import Artifact, KernelCount

if TYPE_CHECKING:
    from qcompiler.backends.executorch.runtime import ExecuTorchSession
    from qcompiler.backends.executorch.target import ExecuTorch

METHOD = "qcompiler"
"""Constant method of the `.pte` that returns the record: JSON as uint8."""
_VERSION = 1
_SEAL, _DIGEST_BYTES = b"QCPTE1", 16
_SEAL_BYTES = len(_SEAL) + _DIGEST_BYTES
_AGAIN = "save it again with Compiled.save"


def record_of(program: Program, target: ExecuTorch, kernels: KernelCount) -> dict[str, Any]:
    """JSON-able content of the record."""
    signature = program.signature
    return {
        "version": _VERSION,
        "inputs": _rows(signature.inputs),
        "outputs": _rows(signature.outputs),
        "convention": signature.convention,
        "source": program.provenance.source,
        "made": Making.of(program, target, program.model).to_json(),
        "batch": target.batch,
        "length": target.length,
        "integer": list(kernels.integer),
        "missed": dict(kernels.missed),
        "ops": dict(kernels.ops),
    }


class PteArtifact(Artifact):
    """What runs, and is saved as, the bytes of a `.pte`; its session is set by its kinds."""

    _session: ExecuTorchSession

    def run(self, feed: Feed) -> list[Any]:
        return self._session.run(feed)

    @property
    def nbytes(self) -> int:
        return len(self._session.pte) + _SEAL_BYTES

    def save(self, path: Path) -> None:
        content = self._session.pte + _seal(self._session.pte)
        replace_file(path, lambda new: new.write_bytes(content))


class RestoredArtifact(PteArtifact):
    """A `.pte` file that runs; its record says what it runs."""

    def __init__(self, pte: bytes, record: Mapping[str, Any], signature: Signature) -> None:
        from qcompiler.backends.executorch.runtime import ExecuTorchSession

        self._session = ExecuTorchSession(pte, signature, record["batch"], record["length"])
        self._record = record

    def kernels(self) -> KernelCount:
        """As counted when the file was written."""
        kept = self._record
        return KernelCount(tuple(kept["integer"]), kept["missed"], kept["ops"])


def _seal(pte: bytes) -> bytes:
    """What stands behind the program: ExecuTorch reads no further than its own sizes say."""
    return _SEAL + hashlib.blake2b(pte, digest_size=_DIGEST_BYTES).digest()


def _unsealed(content: bytes, path: Path) -> bytes:
    """The program; ExecuTorch ends the process on some damaged ones, so it is asked for none.

    Raises:
        ArtifactError: Another tool's file, or one whose bytes are not those that were written.
    """
    pte, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if not seal.startswith(_SEAL):
        raise ArtifactError(
            f"{path} was not written by qcompiler, or is cut off",
            why="its digest is not at its end",
            fix="run it with executorch.runtime, or save it again with Compiled.save",
        )
    if seal != _seal(pte):
        raise ArtifactError(f"{path} is damaged", why="its digest is another one", fix=_AGAIN)
    return pte


def read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and its record.

    Raises:
        ArtifactError: Not readable, not a `.pte`, or without a record that this version knows.
    """
    from qcompiler.backends.executorch.runtime import load_program

    try:
        pte = _unsealed(path.read_bytes(), path)
        program = load_program(pte)
    except (OSError, LoweringError) as error:
        raise ArtifactError(f"cannot read {path}", why=str(error), fix=_AGAIN) from error
    if METHOD not in program.method_names:
        raise ArtifactError(
            f"{path} was not written by qcompiler",
            why="its calling convention is not in it",
            fix="run it with executorch.runtime",
        )
    text = bytes(program.load_method(METHOD).execute([])[0].numpy())
    record: dict[str, Any] = json.loads(text)
    if record.get("version") != _VERSION:
        raise ArtifactError(f"{path} has record version {record.get('version')}", fix=_AGAIN)
    return pte, record


def signature_of(record: Mapping[str, Any]) -> Signature:
    """The calling convention that a record keeps."""
    inputs, outputs = (_specs(record[name]) for name in ("inputs", "outputs"))
    if record["convention"] is None:
        return Signature(inputs, outputs)
    from qcompiler.frontends.torch_calls import Convention

    return Convention.parse(record["convention"]).on(Signature(inputs, outputs))


def opaque_program(record: Mapping[str, Any]) -> Program:
    """A program of one node: a `.pte` does not hold the graph that it was made from."""
    signature = signature_of(record)
    inputs = [_value(spec) for spec in signature.inputs]
    outputs = [_value(spec) for spec in signature.outputs]
    node = ir.Node(OWN_DOMAIN, "ExecuTorch", inputs, outputs=outputs, name="program")
    graph = ir.Graph(inputs, outputs, nodes=[node], opset_imports={"": 21}, name="executorch")
    making = Making.from_json(record.get("made"))
    origin = making.on(Provenance(record["source"]))
    return Program(ir.Model(graph, ir_version=10), signature, origin)


def _rows(specs: Sequence[TensorSpec]) -> list[list[Any]]:
    return [
        [
            spec.name,
            None if spec.dtype is None else int(spec.dtype),
            None if spec.shape is None else list(spec.shape),
        ]
        for spec in specs
    ]


def _specs(rows: Sequence[Sequence[Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name,
            None if dtype is None else ir.DataType(dtype),
            None if shape is None else tuple(shape),
        )
        for name, dtype, shape in rows
    )


def _value(spec: TensorSpec) -> ir.Value:
    return ir.Value(
        name=spec.name,
        type=None if spec.dtype is None else ir.TensorType(spec.dtype),
        shape=None if spec.shape is None else ir.Shape(spec.shape),
    )
