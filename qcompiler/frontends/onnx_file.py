"""ONNX models: from a file, a `ModelProto` or an `onnx_ir.Model` to a `Program`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir

from qcompiler.errors import QCompilerError, UnreadableModelError
from qcompiler.files.reading import Door
from qcompiler.frontends.amplification import check_growth
from qcompiler.frontends.cleaning import clean, lift_constants
from qcompiler.frontends.contrib.expand import expand_contrib
from qcompiler.frontends.contrib.nchwc import is_foreign, undo_blocks
from qcompiler.frontends.inference import infer_types, recompute_shapes
from qcompiler.frontends.maps import without_maps
from qcompiler.frontends.opset import to_working_opset
from qcompiler.frontends.opset_expand import expand_newer_ops
from qcompiler.frontends.protocheck import check_proto
from qcompiler.frontends.scopes import read_scopes
from qcompiler.frontends.shapes import forget_unknown_sizes
from qcompiler.frontends.unnamed_outputs import name_outputs
from qcompiler.ir.naming import make_names_unique
from qcompiler.ir.program import Program, Provenance
from qcompiler.ir.signature import Signature, signature_of
from qcompiler.ir.tensors import external_files, own_tensors

_EXPORT_AGAIN = "check the path, or export or download the model again"
_FILE, _PROTO, _MODEL = (
    Door(noun, UnreadableModelError, _EXPORT_AGAIN, passing=(QCompilerError,))
    for noun in ("the model", "the onnx.ModelProto", "the onnx_ir.Model")
)


def program_from_path(path: Path) -> Program:
    """Reads an ONNX file; external data stays in its file and is memory-mapped when it is used.

    Raises:
        UnreadableModelError: No such file, a folder, no ONNX model, damaged, or external data
            missing or cut off.
        UnsupportedOpsetError: See `to_working_opset`.
    """
    _FILE.require_file(path)
    with _FILE.reading(path):
        model, notes = _read(path)
        program = _program(model, f"file {path.name}", notes)
        files = (path.absolute(), *sorted(external_files(program.model)))
    program.provenance = replace(program.provenance, files=files)
    return program


def raw_model(given: Path | onnx.ModelProto) -> ir.Model:
    """An ONNX file or proto for those who look at what is written: as it is, but for maps.

    Raises:
        UnreadableModelError: See `program_from_path`.
    """
    if isinstance(given, onnx.ModelProto):
        with _PROTO.reading(None):
            return _deserialize(given, "the ModelProto", Path())[0]
    _FILE.require_file(given)
    with _FILE.reading(given):
        return _read(given)[0]


def _read(path: Path) -> tuple[ir.Model, tuple[str, ...]]:
    with path.open("rb") as file:
        if file.read(4) == b"PK\3\4":  # which begins no protobuf of a model
            raise UnreadableModelError(
                f"cannot read the model {path}",
                why="it is a zip, as torch.save and torch.export.save write them, and no ONNX file",
                fix="load it with torch, and give the module or exported program "
                "(what a torch target saved: qc.load_compiled)",
            )
    proto = onnx.load(path, load_external_data=False)
    return _deserialize(proto, str(path), path.parent)


def program_from_proto(proto: onnx.ModelProto) -> Program:
    """Takes a model in memory; nothing of it is kept or changed.

    External data is looked for relative to the working directory, since a proto has no place.

    Raises:
        UnreadableModelError: Not a graph, or its external data is missing.
        UnsupportedOpsetError: See `to_working_opset`.
    """
    with _PROTO.reading(None):
        model, notes = _deserialize(proto, "the ModelProto", Path())
        return _program(model, "onnx.ModelProto", notes)


def program_from_ir(model: ir.Model) -> Program:
    """Takes a clone of an onnx-ir model. Weight arrays are shared with it: do not write to them.

    Raises:
        UnreadableModelError: Its nodes are not in topological order.
        UnsupportedOpsetError: See `to_working_opset`.
    """
    try:
        copied = model.clone()
    except RuntimeError as error:
        raise UnreadableModelError(
            "this onnx_ir.Model cannot be copied",
            why="its nodes are not sorted, or one reads a value of no graph",
            fix="call model.graph.sort() first",
        ) from error
    with _MODEL.reading(None):
        return _program(copied, "onnx_ir.Model")


def _deserialize(
    proto: onnx.ModelProto, name: str, folder: Path
) -> tuple[ir.Model, tuple[str, ...]]:
    """The model, and what of it is no tensor and was left out."""
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise UnreadableModelError(f"{name} holds no graph", fix=_EXPORT_AGAIN)
    if proto.graph.sparse_initializer:
        raise UnreadableModelError(
            f"{name} has sparse weights",
            where=proto.graph.sparse_initializer[0].values.name,
            fix="export it with dense weights",
        )
    proto, notes = without_maps(proto)
    check_proto(proto, name, folder)
    model = ir.from_proto(proto)
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        ir.external_data.set_base_dir(graph, folder)
    return model, notes


def _program(model: ir.Model, source: str, notes: tuple[str, ...] = ()) -> Program:
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    own_tensors(model)
    read_scopes(model)
    repaired = notes + clean(model)
    unnamed = name_outputs(model)
    if unnamed:
        repaired += ("outputs that nobody reads got a name: ONNX Runtime cannot do without",)
    forget_unknown_sizes(model)
    if recompute_shapes(model):
        repaired += ("shapes that the file gives for inner values are wrong: computed anew",)
    infer_types(model)
    check_growth(model)
    if expand_newer_ops(model):
        lift_constants(model)
        infer_types(model)
    draft = Program(model, Signature((), ()), Provenance(source))
    to_working_opset(draft)
    misread = is_foreign(undo_blocks(draft))
    if misread:
        repaired += ("its layout is that of another machine: undone, and not run here as it is",)
    expand_contrib(draft)
    make_names_unique(model)
    origin = Provenance(source, producer, opset, repaired, misread=misread or unnamed)
    return Program(model, signature_of(model), origin)
