"""`insert-dynamic-gru`: GRUs whose two products have int8 weights and dynamic activations.

ONNX Runtime has no quantized GRU, so it is taken apart: the input's product of all steps at once,
and a Scan over the steps with the recurrent product, both as `com.microsoft.DynamicQuantizeMatMul`.
With z, r, h the gate rows of ONNX's GRU and linear_before_reset = 1:
h' = tanh(x_h + r * s_h), new state = h' + z * (state - h').
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.decisions.binding import bound_regions
from qcompiler.ir.origin import REGION_KEY
from qcompiler.ir.program import Program, Property
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import constant
from qcompiler.pipeline.contract import Outcome, Pass, PassContext
from qcompiler.quantization.qspace import QSpace
from qcompiler.quantization.recurrent import recurrent_weight
from qcompiler.target.capability import Kernel

Array = npt.NDArray[Any]
_STEP = (
    ("Add", ("x_zr", "s_zr"), "zr_sum"), ("Sigmoid", ("zr_sum",), "zr"),
    ("Mul", ("r", "s_h"), "gated"), ("Add", ("x_h", "gated"), "h_sum"), ("Tanh", ("h_sum",), "h"),
    ("Sub", ("state", "h"), "apart"), ("Mul", ("z", "apart"), "kept"),
    ("Add", ("h", "kept"), "new"),
)  # fmt: skip
"""One step, but for its product and the three Splits: op, operands, result."""


@dataclass(frozen=True)
class InsertDynamicGru(Pass):
    """Rewrites every GRU that the plan runs in a dynamic form."""

    name: ClassVar[str] = "insert-dynamic-gru"
    requires: ClassVar[frozenset[Property]] = frozenset({Property.RESOLVED})

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        placed = bound_regions(program, Kernel.DYNAMIC)
        found = [each for each in placed if each.region.kind == "GRU"]
        for each in found:
            assert each.form.weight is not None
            _Writer(each.region.anchor, each.form.weight, rewriter).rewrite()
        rewriter.drop_unused_constants()
        return Outcome(details={"GRUs": len(found)})


class _Writer:
    """Takes one GRU apart."""

    def __init__(self, gru: ir.Node, space: QSpace, rewriter: Rewriter) -> None:
        self._gru, self._space, self._rewriter = gru, space, rewriter
        self._stem = gru.outputs[0].name or "gru"
        weights = [np.asarray(constant(value), np.float32) for value in gru.inputs[1:3]]
        self._input, self._recurrent = weights
        self._hidden = self._recurrent.shape[2]
        biased = len(gru.inputs) > 3 and gru.inputs[3] is not None
        zeros = np.zeros((len(self._input), 6 * self._hidden), np.float32)
        self._bias = np.asarray(constant(gru.inputs[3]), np.float32) if biased else zeros

    def rewrite(self) -> None:
        way = self._gru.attributes.get_string("direction", "forward")
        backwards = {"forward": (0,), "reverse": (1,), "bidirectional": (0, 1)}[way or "forward"]
        found = [self._direction(index, back) for index, back in enumerate(backwards)]
        for position, output in enumerate(self._gru.outputs):
            if not output.uses() and not output.is_graph_output():
                continue
            axis = 1 - position  # of the directions: [S, D, B, H] and [D, B, H]
            where = self._constant(np.asarray([axis]), "axis")
            turned = [self._add("Unsqueeze", [parts[position], where]) for parts in found]
            whole = self._add("Concat", turned, axis=axis) if len(turned) > 1 else turned[0]
            whole.shape = output.shape
            self._rewriter.replace_uses(output, whole)
        self._rewriter.erase_dead(self._gru)

    def _direction(self, index: int, backwards: int) -> tuple[ir.Value, ir.Value]:
        """All states [S, B, H] and the last one [B, H] of one direction."""
        rows = 3 * self._hidden
        bias = self._bias[index]
        data = self._gru.inputs[0]
        assert data is not None
        gates = self._add(
            "DynamicQuantizeMatMul",
            [data, *self._weight(self._input[index], bias[:rows], "w")],
            domain="com.microsoft",
        )
        body = self._body(self._weight(self._recurrent[index], bias[rows:], "r"))
        scan = self._rewriter.insert(
            "Scan",
            [self._first(index), gates],
            before=self._gru,
            attributes={
                "body": body,
                "num_scan_inputs": 1,
                "scan_input_directions": [backwards],
                "scan_output_directions": [backwards],
            },
            outputs=[f"{self._stem}_last", f"{self._stem}_states"],
            origin=[self._gru],
        )
        scan.metadata_props[REGION_KEY] = self._gru.name or ""
        for value in scan.outputs:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        return scan.outputs[1], scan.outputs[0]

    def _first(self, index: int) -> ir.Value:
        """The state to begin with, [B, H]."""
        gru = self._gru
        given = gru.inputs[5] if len(gru.inputs) > 5 else None
        if given is not None:
            return self._add("Gather", [given, self._constant(np.asarray(index), "index")], axis=0)
        batch = self._add("Shape", [gru.inputs[0]], ir.DataType.INT64, start=1, end=2)
        hidden = self._constant(np.asarray([self._hidden]), "hidden")
        shape = self._add("Concat", [batch, hidden], ir.DataType.INT64, axis=0)
        zero = ir.Tensor(np.zeros(1, np.float32))
        return self._add("ConstantOfShape", [shape], value=zero)

    def _weight(self, weight: Array, bias: Array, name: str) -> list[ir.Value]:
        """Integers [K, 3H], scales, zero points and bias of a [3H, K] weight."""
        data, scale, zero = (part[0] for part in recurrent_weight(weight[None], self._space))
        return [self._constant(part, f"{name}_part") for part in (data, scale, zero, bias)]

    def _body(self, recurrent: Sequence[ir.Value]) -> ir.Graph:
        """(state [B, H], gates of the input [B, 3H]) → (new state, new state)."""
        hidden, nodes = self._hidden, []
        values = {name: self._value(name) for name in ("state", "x")}
        sizes = self._constant(np.asarray([2 * hidden, hidden]), "sizes")
        halves = self._constant(np.asarray([hidden, hidden]), "halves")

        def add(op: str, inputs: Sequence[ir.Value], names: Sequence[str], **more: Any) -> None:
            outputs = [self._value(name) for name in names]
            values.update(zip(names, outputs, strict=True))
            node = ir.node(op, inputs, outputs=outputs, name=f"{outputs[0].name}_{op}", **more)
            node.metadata_props[REGION_KEY] = self._gru.name or ""
            nodes.append(node)

        axis = {"attributes": {"axis": 1}}
        product = "DynamicQuantizeMatMul"
        add(product, [values["state"], *recurrent], ["s"], domain="com.microsoft")
        add("Split", [values["x"], sizes], ["x_zr", "x_h"], **axis)
        add("Split", [values["s"], sizes], ["s_zr", "s_h"], **axis)
        for op, operands, result in _STEP:
            add(op, [values[each] for each in operands], [result])
            if result == "zr":
                add("Split", [values["zr"], halves], ["z", "r"], **axis)
        add("Identity", [values["new"]], ["seen"])
        inputs, outputs = [values["state"], values["x"]], [values["new"], values["seen"]]
        return ir.Graph(inputs, outputs, nodes=nodes, name=self._rewriter.fresh("gru_step"))

    def _value(self, name: str) -> ir.Value:
        fresh = self._rewriter.fresh(f"{self._stem}_{name}")
        return ir.Value(name=fresh, type=ir.TensorType(ir.DataType.FLOAT))

    def _constant(self, array: Array, name: str) -> ir.Value:
        return self._rewriter.constant(array, f"{self._stem}_{name}")

    def _add(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        dtype: ir.DataType = ir.DataType.FLOAT,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        node = self._rewriter.insert(
            op_type,
            inputs,
            before=self._gru,
            domain=domain,
            attributes=attributes,
            outputs=[f"{self._stem}_{op_type.lower()}"],
            origin=[self._gru],
            dtype=dtype,
        )
        node.metadata_props[REGION_KEY] = self._gru.name or ""
        return node.outputs[0]
