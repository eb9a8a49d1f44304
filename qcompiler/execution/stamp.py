"""What an ONNX artifact says of itself, in its `metadata_props`: compiler, target, plan.

Nothing in it depends on time, machine or path, so that equal inputs give equal bytes. Files of
other tools have no stamp, and are taken as they are.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from qcompiler.errors import ArtifactError
from qcompiler.execution.making import Making
from qcompiler.files.reading import cause
from qcompiler.frontends.protocheck import check_proto
from qcompiler.ir.plan import Plan, digest_of
from qcompiler.ir.program import Program, Provenance
from qcompiler.ir.signature import Signature, signature_of
from qcompiler.ir.views import with_metadata
from qcompiler.target.contract import Target
from qcompiler.version import own_version

_PREFIX = "qcompiler."
_VERSION, _TARGET, _PLAN, _DIGEST, _CONVENTION, _MADE = (
    _PREFIX + each for each in ("version", "target", "plan", "plan_digest", "convention", "made")
)
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Stamp:
    """What `stamped` wrote.

    Attributes:
        target: Name of the target that it was compiled for.
        options: The target's options that are plain values.
        plan: Precision of every region; None for a source that was lowered without one.
        convention: How a torch source is called, see `Signature.convention`; None if flat.
        making: Calibration data and versions; empty in files of earlier versions.
    """

    target: str
    options: Mapping[str, Any]
    plan: Plan | None
    convention: str | None = None
    making: Making = field(default_factory=Making)


def stamped(model: ir.Model, target: Target, program: Program) -> ir.Model:
    """The model with version, target, plan, calling convention and making in its metadata.

    Measured figures stay out of it.

    Args:
        model: What is written.
        target: What it is written for.
        program: What it was made of; its plan, signature and provenance are kept.
    """
    plan, convention = program.plan, program.signature.convention
    options = {each.name: getattr(target, each.name) for each in fields(target)}
    plain = {name: value for name, value in options.items() if isinstance(value, _PLAIN)}
    props = dict(model.metadata_props)
    props[_VERSION] = own_version()
    props[_TARGET] = json.dumps({"name": target.name, "options": plain}, sort_keys=True)
    for stale in (_PLAN, _DIGEST, _CONVENTION):
        props.pop(stale, None)
    if convention is not None:
        props[_CONVENTION] = convention
    if plan is not None:
        props[_PLAN], props[_DIGEST] = plan.bare.to_json(), plan.digest
    props[_MADE] = Making.of(program, target, model).to_json()
    return with_metadata(model, props)


def stamp_of(props: Mapping[str, str]) -> Stamp | None:
    """The stamp in a model's metadata, None if it has none.

    Raises:
        ArtifactError: It is damaged.
    """
    if _TARGET not in props:
        return None
    try:
        target = json.loads(props[_TARGET])
        name, options = str(target["name"]), dict(target["options"])
        text = props.get(_PLAN)
        plan = None if text is None else Plan.from_json(text)
        making = Making.from_json(props.get(_MADE))
    except Exception as error:  # whatever json and a wrong structure lead to
        raise ArtifactError(
            "its stamp is damaged", why=cause(error), fix="save the artifact again"
        ) from error
    if text is not None and props.get(_DIGEST) != digest_of(text):
        raise ArtifactError(
            "its stamp is damaged",
            why="the plan is not the one whose digest it holds",
            fix="save it again with Compiled.save",
        )
    return Stamp(name, options, plan, props.get(_CONVENTION), making)


def target_in(path: Path, head: bytes) -> str | None:
    """Name of the target that an ONNX file was written for; None for files of other kinds."""
    if not is_onnx(head):
        return None
    model = onnx.load(path, format="protobuf", load_external_data=False)
    stamp = stamp_of({each.key: each.value for each in model.metadata_props})
    return None if stamp is None else stamp.target


def is_onnx(head: bytes) -> bool:
    """Whether a file may be a ModelProto: `ir_version` is its first field."""
    return head[:1] == b"\x08"


def restored_program(path: Path) -> tuple[Program, Stamp | None]:
    """The graph of an ONNX artifact under its plan, called as its torch source was.

    Raises:
        ArtifactError: Its stamp is damaged, or its graph or weights are not those saved.
    """
    proto = onnx.load(path, format="protobuf", load_external_data=False)
    check_proto(proto, path.name, path.parent)
    model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    stamp = stamp_of(model.metadata_props)
    text = None if stamp is None else stamp.convention
    signature, notes = _called_so(signature_of(model), text)
    making = Making() if stamp is None else stamp.making
    making.check(model, path)
    origin = making.on(Provenance(f"file {path.name}", warnings=notes))
    program = Program(model, signature, origin)
    program.plan = None if stamp is None else stamp.plan
    return program, stamp


def _called_so(flat: Signature, convention: str | None) -> tuple[Signature, tuple[str, ...]]:
    """The signature with the convention, and what a user should know of it."""
    if convention is None:
        return flat, ()
    if importlib.util.find_spec("torch") is None:  # the nests are torch's
        return flat, ("without torch the file is called with flat inputs, by name or in order",)
    from qcompiler.frontends.torch_calls import Convention

    nested = Convention.parse(convention)
    return nested.on(flat), nested.notes


def options_for(kind: type[Target], stamp: Stamp | None) -> dict[str, Any]:
    """The stamp's options, if it is this target's; options that it no longer has are left out."""
    if stamp is None or stamp.target != kind.name:
        return {}
    known = {each.name for each in fields(kind)}
    return {name: value for name, value in stamp.options.items() if name in known}
