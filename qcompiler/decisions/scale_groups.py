"""Which quantized values take one scale, and what it is.

Values tied by ops that pass their elements on (MaxPool, Reshape, Concat with a shared scale, ...)
take one scale; this is a union-find over values. A value behind an absorbed activation keeps the
activation's bounds, so that saturation can stand for the activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from networkx.utils import UnionFind

from qcompiler.decisions.absorbed import value_params
from qcompiler.decisions.activation_ends import cut, narrowest, reaching, within_activation
from qcompiler.decisions.placement import ValueKey
from qcompiler.errors import LegalityError
from qcompiler.ir.bounds import value_bounds
from qcompiler.ir.regions import Operand, Region
from qcompiler.quantization.chosen import is_users
from qcompiler.quantization.observer import Observer
from qcompiler.quantization.parameters import choose_qparams, qparams_of_ranges
from qcompiler.quantization.qspace import QParams, QSpace, Range
from qcompiler.target.capability import Implementation

_Member = tuple[ir.Value, ir.DataType]
"""A value in one storage type."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A region of the float program and the form that the plan gives it."""

    region: Region
    form: Implementation

    @property
    def quantized_operands(self) -> tuple[Operand, ...]:
        """The operands that the form reads as integers."""
        if self.form.activation is None:
            return ()
        return self.form.choose_operands(self.region.activations)


class ScaleGroups:
    """Parameters of every value that static regions read or write as integers.

    Args:
        observations: What calibration saw, by value name.
        chosen: The static regions of the plan.
        fixed: Parameters of values that a quantized source came with, by name.

    Raises:
        LegalityError: A value to be quantized was not observed.
    """

    def __init__(
        self,
        observations: Mapping[str, Observer],
        chosen: Sequence[Chosen],
        fixed: Mapping[str, QParams] = MappingProxyType({}),
    ) -> None:
        self._observations = observations
        self._fixed = fixed
        self._reranged: dict[str, None] = {}
        self._producer = {
            each.region.output: each for each in chosen if each.form.output is not None
        }
        self._demands: dict[_Member, list[QSpace]] = {}
        self._tied: UnionFind[_Member] = UnionFind()
        self._apart: list[tuple[Chosen, int]] = []
        for each in chosen:
            self._demand(each)
        for each in chosen:
            if each.form.shares_scale:
                self._tie(each)
        self._params: dict[_Member, QParams] = {}
        groups = list(self._groups())
        for members, params in zip(groups, self._derived(groups), strict=True):
            self._params.update(dict.fromkeys(members, params))
        while sum(map(self._coarsen, groups)):
            pass  # a raised scale may ask for more of what is computed from it
        self._requantized = self._of_operands() | self._too_fine(chosen)

    @property
    def count(self) -> int:
        """How many different groups there are."""
        return len({id(params) for params in self._params.values()})

    @property
    def changed(self) -> tuple[str, ...]:
        """Values whose levels are not those that the source fixed."""
        return tuple(self._reranged)

    def values(self) -> dict[ValueKey, QParams]:
        """Parameters by value."""
        return {
            (value.name or "", dtype.name): params
            for (value, dtype), params in self._params.items()
        }

    def of_value(self, value: ir.Value, space: QSpace) -> QParams:
        """Parameters of a value in the storage type of a space."""
        return self._params[value, space.dtype]

    def of_operand(self, operand: Operand, space: QSpace) -> tuple[QParams, bool]:
        """Parameters that an operand is read with, and whether it is requantized for them."""
        own = self._requantized.get((operand.node, operand.index))
        return (self.of_value(operand.value, space), False) if own is None else (own, True)

    def _of_operands(self) -> dict[tuple[ir.Node, int], QParams]:
        """Parameters of operands that must differ from their producer's: they are requantized."""
        found = {}
        for each, index in self._apart:
            operand, space = each.region.activations[index], each.form.activation
            assert space is not None
            assert each.form.output is not None
            wanted = self.of_value(each.region.output, each.form.output)
            if not wanted.same_as(self.of_value(operand.value, space)):
                found[operand.node, operand.index] = wanted
        return found

    def _demand(self, chosen: Chosen) -> None:
        wanted = chosen.form.activation
        if wanted is not None:
            for operand in chosen.quantized_operands:
                self._demands.setdefault((operand.value, wanted.dtype), []).append(wanted)
        made = chosen.form.output
        if made is not None:
            self._demands.setdefault((chosen.region.output, made.dtype), []).append(made)

    def _tie(self, chosen: Chosen) -> None:
        """Joins operands with the output; operands with bounds of their own may stay apart."""
        form, operands = chosen.form, chosen.region.activations
        assert form.output is not None
        assert form.activation is not None
        output = (chosen.region.output, form.output.dtype)
        several = len({operand.value for operand in operands}) > 1
        for index, operand in enumerate(operands):
            if several and self._is_bounded(operand.value):
                self._apart.append((chosen, index))
            else:
                self._tied.union(output, (operand.value, form.activation.dtype))

    def _is_bounded(self, value: ir.Value) -> bool:
        producer = self._producer.get(value)
        if producer is None:
            return False
        return producer.region.activation_node is not None or producer.form.output_range is not None

    def _groups(self) -> Iterable[list[_Member]]:
        members: dict[_Member, list[_Member]] = {}
        for member in self._demands:
            members.setdefault(self._tied[member], []).append(member)
        return members.values()

    def _derived(self, groups: Sequence[Sequence[_Member]]) -> list[QParams]:
        """Parameters of every group; those that follow from ranges are computed all at once."""
        spaces = [narrowest([s for m in members for s in self._demands[m]]) for members in groups]
        both = list(zip(groups, spaces, strict=True))
        found = [self._source_params(members, space) for members, space in both]
        open_ = [index for index, params in enumerate(found) if params is None]
        joined = [self._joined(groups[index], spaces[index]) for index in open_]
        chosen = qparams_of_ranges(joined, [spaces[index] for index in open_])
        for index, params in zip(open_, chosen, strict=True):
            found[index] = self._reaching(groups[index], params)
        return [params for params in found if params is not None]

    def _joined(self, members: Sequence[_Member], space: QSpace) -> Range:
        """The range of all values of a group."""
        joined, *others = (self._range(value, space) for value in self._sources(members))
        for each in others:
            joined = joined.union(each)
        return joined

    def _reaching(self, members: Sequence[_Member], params: QParams) -> QParams:
        """With the bounds of activations that write the values at the ends of the integers."""
        for value, _ in members:
            made = self._producer.get(value)
            params = reaching(params, None if made is None else made.region)
        return params

    def _source_params(self, members: Sequence[_Member], space: QSpace) -> QParams | None:
        """The levels that the source fixed for these values, or others over the same range.

        None where it fixed none, or where a kernel writes into a range of its own.
        """
        made = [self._producer.get(value) for value, _ in members]
        if any(each is not None and each.form.output_range is not None for each in made):
            return None
        given = {
            value: self._fixed[value.name or ""]
            for value, _ in members
            if (value.name or "") in self._fixed
        }
        if any(self._is_users(value) for value, _ in members):
            return None
        if not given:
            return None
        bounds = {value: value_bounds(value, reached=False) for value in given}
        exact = [value_params(params, space, bounds[value]) for value, params in given.items()]
        first = exact[0]
        if first is not None and all(each is not None and first.same_as(each) for each in exact):
            return first
        self._reranged.update(dict.fromkeys(value.name or "" for value in given))
        ranges = [cut(params.representable, bounds[value]) for value, params in given.items()]
        joined = ranges[0]
        for each in ranges[1:]:
            joined = joined.union(each)
        params = choose_qparams(joined.low, joined.high, space)
        for chosen in made:
            params = reaching(params, None if chosen is None else chosen.region)
        return params

    def _coarsen(self, members: Sequence[_Member]) -> bool:
        """Raises a scale that a kernel which writes one of the values cannot reach."""
        params = self._params[members[0]]
        least = max((self._finest(value) for value, _ in members), default=0.0)
        if float(params.scale) >= least:
            return False
        self._params.update(dict.fromkeys(members, _raised(params, least)))
        return True

    def _finest(self, value: ir.Value) -> float:
        """The least scale of a value that the kernel which writes it reaches."""
        made = self._producer.get(value)
        if made is None or made.form.ratios is None:
            return 0.0
        read = max(float(params.scale) for _, params in self._read(made))
        return read / made.form.ratios(made.region)[1]

    def _too_fine(self, chosen: Sequence[Chosen]) -> dict[tuple[ir.Node, int], QParams]:
        """Operands whose scale is below what their kernel takes beside that of its result.

        They are requantized. Nothing is lost: all their values are a part of a step of the result.
        """
        found = {}
        for each in chosen:
            if each.form.ratios is None or each.form.output is None:
                continue
            written = self.of_value(each.region.output, each.form.output)
            least = float(written.scale) * each.form.ratios(each.region)[0]
            for operand, params in self._read(each):
                if float(params.scale) < least:
                    found[operand.node, operand.index] = _raised(params, least)
        return found

    def _read(self, chosen: Chosen) -> list[tuple[Operand, QParams]]:
        """The quantized operands and the parameters of their values."""
        space = chosen.form.activation
        if space is None:
            return []
        return [(each, self.of_value(each.value, space)) for each in chosen.quantized_operands]

    def _sources(self, members: Sequence[_Member]) -> list[ir.Value]:
        """The values that decide; behind a fixed range, what only passes it on has no say."""
        values = [value for value, _ in members]
        asked = [value for value in values if self._is_users(value)]
        if asked:
            return asked
        made = {value: self._producer.get(value) for value in values}
        if not any(each is not None and each.form.output_range for each in made.values()):
            return values
        return [value for value, each in made.items() if each is None or not each.form.shares_scale]

    def _range(self, value: ir.Value, space: QSpace) -> Range:
        producer = self._producer.get(value)
        if producer is not None and producer.form.output_range is not None:
            return producer.form.output_range
        seen = self._observations.get(value.name or "")
        if seen is None:
            raise LegalityError(
                f"'{value.name}' is to be quantized but was not observed",
                fix="run insert-observers and calibrate for this target first",
            )
        found = seen.range_for(space)
        found = found if producer is None else within_activation(found, producer.region)
        return cut(found, value_bounds(value))

    def _is_users(self, value: ir.Value) -> bool:
        """Whether the user gave its range, and the kernel that writes it has none of its own."""
        producer = self._producer.get(value)
        seen = self._observations.get(value.name or "")
        own = producer is not None and producer.form.output_range is not None
        return seen is not None and not own and is_users(seen)


def _raised(params: QParams, least: float) -> QParams:
    """The same integers and zero point under the smallest scale that is no less."""
    scale = np.float32(least)
    if float(scale) < least:
        scale = np.nextafter(scale, np.float32(np.inf))
    return replace(params, scale=np.asarray(scale))
