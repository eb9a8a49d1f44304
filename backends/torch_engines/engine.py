"""`TorchEngine`: what the four targets share; they differ in a name and an overlay of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_ir as ir

from qcompiler.backends.torch_engines.capabilities import BASE, DYNAMIC, NORMALIZATION
from qcompiler.backends.torch_engines.depthwise import (
    CHANNELS_PER_GROUP,
    can_regroup,
    regroup,
)
from qcompiler.backends.torch_engines.faults import FAULTS, Fault, Site, objections
from qcompiler.backends.torch_engines.recurrent_weights import quantize_recurrent
from qcompiler.backends.torch_engines.tables import table_objection
from qcompiler.decisions.roundings import nearest
from qcompiler.execution.making import Making
from qcompiler.ir.diagnostics import Diagnostic, Severity
from qcompiler.ir.origin import source_line
from qcompiler.ir.program import Program
from qcompiler.ir.regions import Region
from qcompiler.ir.signature import Feed
from qcompiler.ir.walk import constant
from qcompiler.lowering.torch_fx.constants import weight_of
from qcompiler.quantization.qspace import QSpace
from qcompiler.target.arithmetic import Arithmetic
from qcompiler.target.artifact import PROFILE_THREADS, Artifact, ConversionCost
from qcompiler.target.capability import CapabilityTable, Implementation
from qcompiler.target.contract import STATIC_PLACEMENT, Restored, Target
from qcompiler.target.limits import require_threads
from qcompiler.target.placement import lowered_regions
from qcompiler.target.processor import NATIVE, VNNI, require_cpu

if TYPE_CHECKING:
    from qcompiler.backends.torch_engines.artifact import TorchArtifact
    from qcompiler.backends.torch_engines.kernels.island import Setting

_KINDS = {"Conv": "conv", "ConvTranspose": "conv_transpose", "Gemm": "linear", "MatMul": "linear"}


@dataclass(frozen=True)
class TorchEngine(Target):
    """One of torch's quantized engines.

    Attributes:
        cpu: `native` (this machine), `vnni`, `avx2` or `portable` (any x86). Without VNNI, layers
            whose weights could saturate int16 sums get 7-bit weights, the others keep 8.
        threads: Threads inside one kernel; None leaves torch's setting.
        normalization: Also quantize softmax and normalisation layers.

    Raises:
        ConfigurationError: An unknown `cpu`, or a number of threads that makes no sense.
    """

    cpu: str = NATIVE
    threads: int | None = None
    normalization: bool = False

    has_texts: ClassVar[bool] = False
    placement: ClassVar[str] = f"{STATIC_PLACEMENT},quantize-weight-blocks"
    engine: ClassVar[str]
    table: ClassVar[CapabilityTable] = BASE
    faults: ClassVar[tuple[Fault, ...]] = FAULTS

    def __post_init__(self) -> None:
        require_cpu(self.name, self.cpu)
        require_threads(self.name, self.threads)

    @property
    def capabilities(self) -> CapabilityTable:
        return self.table.overlay(NORMALIZATION) if self.normalization else self.table

    @property
    def vnni(self) -> bool:
        """Whether kernels may rely on 8-bit dot products."""
        if self.cpu != NATIVE:
            return self.cpu == VNNI
        from qcompiler.backends.torch_engines.adapter import has_vnni

        return has_vnni()

    @property
    def arithmetic(self) -> Arithmetic:
        from qcompiler.backends.torch_engines.arithmetic import arithmetic_of

        return arithmetic_of(self.engine)

    def conversion_cost(self) -> ConversionCost:
        from qcompiler.backends.torch_engines.costs import measure_conversions

        return measure_conversions(self.threads or PROFILE_THREADS)

    def setting(self) -> Setting:
        """What the lowering needs to know."""
        from qcompiler.backends.torch_engines.kernels.island import Setting

        return Setting(self.engine, self.vnni, self.faults)

    def implementations(self, region: Region) -> tuple[Implementation, ...]:
        """Legal forms; weights get 7 bits where the engine is right with those only."""
        forms = super().implementations(region)
        return tuple(each for form in forms for each in self._safe(region, form))

    def objections(self, region: Region) -> tuple[Diagnostic, ...]:
        """Constraints of the row, and the engine's faults that 7-bit weights do not cure."""
        found = super().objections(region)
        row = self.capabilities.row(region.kind)
        if found or row is None or region.kind not in _KINDS or region.weight is None:
            return found
        form = row.implementations[0]
        if self._safe(region, form):
            return ()
        site = self.site(region, self._form(region, form).weight)
        broken = objections(site, self.faults) if site is not None else []
        anchor = region.anchor
        return tuple(
            Diagnostic(
                Severity.INFO, fault.name, reason, anchor.name, source_line(anchor), None,
                fault.reference,
            )
            for fault, reason in broken
        )  # fmt: skip

    def legality(self, program: Program) -> tuple[Diagnostic, ...]:
        """Notes on regions whose weights are coarser than usual here."""
        notes = []
        for region in self.regions(program):
            if region.kind not in _KINDS or region.weight is None:
                continue
            stored = weight_of(region.weight.value)
            text = self._note(region, stored.values) if stored is not None else None
            if text is not None and stored is not None:
                rule = "T11" if region.kind == "ConvTranspose" else "7-bit"
                anchor = region.anchor
                notes.append(
                    Diagnostic(Severity.INFO, rule, text, anchor.name, source_line(anchor))
                )
        return tuple(notes)

    def lower(self, program: Program) -> TorchArtifact:
        from qcompiler.backends.torch_engines.artifact import TorchArtifact

        placed = quantize_recurrent(program, self.regions(program), DYNAMIC.precision)
        return TorchArtifact(
            placed.model,
            program.signature,
            self.setting(),
            self.threads,
            self._keys(program),
            program.plan,
            program.provenance.source,
            partial(Making.of, program, self, placed.model),
        )

    def baseline(self, source: Program, model: object, feeds: Sequence[Feed]) -> Artifact:
        from qcompiler.backends.torch_engines.eager import float_baseline

        return float_baseline(model, self.lower(source), feeds)

    def _keys(self, program: Program) -> dict[str, str]:
        """Region key by the name of each of its nodes."""
        regions = lowered_regions(program, self)
        return {node.name or "": each.key for each in regions for node in each.nodes}

    @classmethod
    def recognizes(cls, head: bytes) -> bool:
        return head[:4] == b"PK\x03\x04"  # torch.save writes a zip archive

    @classmethod
    def restore(cls, path: Path) -> Restored:
        """Reads a saved artifact of any torch engine; kernels are packed anew, with equal results.

        Raises:
            ArtifactError: Not such a file, damaged, or made for a CPU that this one is not.
        """
        from qcompiler.backends.torch_engines.restoring import restore

        return restore(path)

    def site(self, region: Region, space: QSpace | None) -> Site | None:
        """The kernel call a region would become with its weight in `space`; None if unknown."""
        if region.weight is None or space is None:
            return None
        node = region.anchor
        values, per_channel = _integers(node, region.weight.value, space)
        if values is None:
            return None
        if node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not node.attributes.get_int("transB", 0)
        ):
            values = values.T
        groups = node.attributes.get_int("group", 1)
        if node.op_type == "Conv" and self._regroups(node, values.shape, groups):
            values, groups = regroup(values), groups // CHANNELS_PER_GROUP
        return Site(
            _KINDS[node.op_type],
            self.engine,
            values,
            groups=groups,
            per_channel=per_channel,
            output_padding=any(node.attributes.get_ints("output_padding", ())),
            vnni=self.vnni,
        )

    def _regroups(self, node: ir.Node, shape: Sequence[int], groups: int) -> bool:
        strides = node.attributes.get_ints("strides", ())
        dilations = node.attributes.get_ints("dilations", ())
        return can_regroup(self.engine, shape, groups, strides, dilations)

    def _form(self, region: Region, form: Implementation) -> Implementation:
        """The form with the granularity this region has on the engine."""
        return form

    def _safe(self, region: Region, form: Implementation) -> tuple[Implementation, ...]:
        """The form as it is, with 7-bit weights, or nothing."""
        form = self._form(region, form)
        if form.weight is not None and region.kind == "Gather" and region.weight is not None:
            table = constant(region.weight.value)
            wide = table is None or table_objection(table, form.weight.storage_bits) is None
            return (form,) if wide else ()
        if form.weight is None or region.kind not in _KINDS:
            return (form,)
        for space in (form.weight, replace(form.weight, bits=7)):
            site = self.site(region, space)
            if site is None or not objections(site, self.faults):
                return (replace(form, weight=space),)
        return ()

    def _note(self, region: Region, values: np.ndarray) -> str | None:
        if region.kind == "ConvTranspose" and not self._per_channel_transposed(region):
            return f"{self.name} takes one scale for all channels of a ConvTranspose weight"
        if np.abs(values.astype(np.int16)).max(initial=0) <= 64:
            return f"weights use 7 bits, since {self.name} would saturate with 8 here"
        return None

    def _per_channel_transposed(self, region: Region) -> bool:
        return False


def _integers(node: ir.Node, value: ir.Value, space: QSpace) -> tuple[np.ndarray | None, bool]:
    """int8 weight values in `space` (as stored if they are), and whether scales are per channel."""
    stored = weight_of(value)
    if stored is not None:
        return stored.values, stored.scale.ndim > 0
    rounding = nearest(node, value, space)
    if rounding is None:
        return None, False
    return rounding.integers, rounding.params.axis is not None
