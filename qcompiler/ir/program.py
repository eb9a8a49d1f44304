"""`Program`: the one representation that every pass reads and rewrites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from qcompiler.ir.requests import Request
from qcompiler.ir.signature import Signature

if TYPE_CHECKING:
    from qcompiler.decisions.absorbed import Absorbed
    from qcompiler.decisions.placement import Placement
    from qcompiler.ir.plan import Plan
    from qcompiler.ir.tail import Tail
    from qcompiler.quantization.observers import Observer
    from qcompiler.statistics.statistic import Statistic

OWN_DOMAIN = "qcompiler"
"""Domain of operators that stand for what ONNX has no operator for."""

WORKING_OPSET = 21
"""The ONNX opset of every Program: the first with blocked and 4-bit Q/DQ."""


class Property(Enum):
    """What is known to hold for a program; passes require, establish and destroy them."""

    CANONICAL = auto()
    BN_FOLDED = auto()
    OBSERVED = auto()
    CALIBRATED = auto()
    PRECISION_ASSIGNED = auto()
    RESOLVED = auto()
    QDQ_EXPLICIT = auto()
    WEIGHTS_QUANTIZED = auto()


@dataclass(frozen=True)
class Provenance:
    """Where a program came from.

    Attributes:
        source: What the user gave, in words: `file model.onnx`, `torch module ResNet`.
        producer: The exporter's name and version, empty if unknown.
        opset: The opset of the source, None when it was not ONNX.
        warnings: What the front end had to repair or could not keep.
        files: Files it was read from, that of calibration data included; no result overwrites them.
        computed: Types that the source computes in where the program has float32.
        data: Digest of the calibration data, empty without: see `calibration.keeper`.
        plan: Of an artifact that was loaded: digest of the plan it was made by.
        content: Of an artifact that was loaded: digest of its graph and weights.
        versions: Of an artifact that was loaded: what it was made with.
        misread: ONNX Runtime on this machine does not compute what the source says.
    """

    source: str
    producer: str = ""
    opset: int | None = None
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    computed: tuple[ir.DataType, ...] = ()
    data: str = ""
    plan: str = ""
    content: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    misread: bool = False


@dataclass(eq=False)
class Program:
    """An ONNX graph at `WORKING_OPSET` with calling convention, provenance and what passes learned.

    Programs compare by identity. Values of the graph have unique names (subgraphs included).

    Attributes:
        model: The graph; functions are inlined, initializers are not graph inputs.
        signature: How the source is called.
        provenance: Where it came from.
        requests: What calibration is to observe, filled by `insert-observers` and accuracy passes.
        observations: Calibrated ranges by value name, filled by the pass `calibrate`.
        statistics: Results of requests of other kinds.
        absorbed: What a quantized source fixed, filled by `absorb-quantization`.
        plan: Precision of every region, filled by `assign-precision`.
        placement: Scales, zero points and integers, filled by `resolve-placement`.
        tail: Custom operators that were cut off the end, for targets that know them.
        properties: What is known to hold.
    """

    model: ir.Model
    signature: Signature
    provenance: Provenance
    requests: dict[Request, None] = field(default_factory=dict)
    observations: dict[str, Observer] = field(default_factory=dict)
    statistics: dict[Request, Statistic] = field(default_factory=dict)
    absorbed: Absorbed | None = None
    plan: Plan | None = None
    placement: Placement | None = None
    tail: Tail | None = None
    properties: frozenset[Property] = frozenset()

    def __repr__(self) -> str:
        return f"<Program {self.provenance.source}: {len(self.graph)} nodes, {self.signature}>"

    @property
    def graph(self) -> ir.Graph:
        """The main graph."""
        return self.model.graph

    def of_data(self, digest: str) -> Program:
        """The program, its graph shared, with the digest of the calibration data."""
        return replace(self, provenance=replace(self.provenance, data=digest))

    def clone(self) -> Program:
        """An independent program; O(nodes), since tensors are shared and never written to."""
        return Program(
            model=self.model.clone(),
            signature=self.signature,
            provenance=self.provenance,
            requests=dict(self.requests),
            observations=dict(self.observations),
            statistics=dict(self.statistics),
            absorbed=self.absorbed,
            plan=self.plan,
            placement=self.placement,
            tail=self.tail,
            properties=self.properties,
        )
