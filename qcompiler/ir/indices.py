"""Numbers that are sizes, positions or indices: computed in float, and yet no data.

`Shape → Cast → Mul → Floor → Cast → Resize` and `Add → Cast → Gather` look like arithmetic on
activations. Rounded to 256 levels, a size is another size and an index finds another row.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qcompiler.ir.optraits import traits
from qcompiler.ir.program import Program
from qcompiler.ir.walk import RANDOM, all_graphs, all_nodes, bodies, is_constant

_EVERY = tuple(range(16))
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip

SIZE_OPERANDS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_REDUCTIONS, (1,)),
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "DeformConv": (2,),
    "Expand": (1,),
    "GRU": (4,),
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "GridSample": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "If": (0,),
    "LSTM": (4,),
    "Loop": (0, 1),
    "MaxRoiPool": (1,),
    "MaxUnpool": (1, 2),
    "MelWeightMatrix": _EVERY,
    "NegativeLogLikelihoodLoss": (1,),
    "NonMaxSuppression": (2, 3, 4),
    "OneHot": (0, 1),
    "Pad": (1, 3),
    "RNN": (4,),
    "Range": _EVERY,
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "ReverseSequence": (1,),
    "RoiAlign": (1, 2),
    "STFT": (1, 3),
    "Scatter": (1,),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "SequenceAt": (1,),
    "SequenceErase": (1,),
    "SequenceInsert": (2,),
    "Shape": (0,),
    "Size": (0,),
    "Slice": (1, 2, 3, 4),
    "SoftmaxCrossEntropyLoss": (1,),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
}
"""Operand positions that hold sizes, positions or indices. Source: the ONNX operator definitions.

Sampling grids, offsets and boxes count: they are positions in pixels."""

_ROUNDING = ("Cast", "CastLike", "Ceil", "Floor", "Round", "Sign", "Mod", "IsNaN", "Trilu")
_PASSING = frozenset({*_REDUCTIONS, *_ROUNDING, "QuantizeLinear", "DequantizeLinear", "Range"})
"""Arithmetic that sizes are computed with, beside what is elementwise or moves data. Weighted ops,
comparisons and ArgMax are not in it: what a network decides by is data."""


def size_values(program: Program) -> frozenset[ir.Value]:
    """Computed values of which every use ends in a size or index operand. O(nodes).

    Uses in bodies of If, Loop and Scan count, and so do those of what a body hands on.
    """
    if not any(True for _ in _seeds(program)):
        return frozenset()
    data = _data_values(program)
    return frozenset(
        value
        for node in all_nodes(program.model)
        for value in node.outputs
        if value not in data and (value.uses() or value.is_graph_output())
    )


_PLACES = frozenset(
    "Compress CumSum DeformConv GRU Gather GatherElements GatherND GridSample If LSTM Loop "
    "MaxRoiPool NegativeLogLikelihoodLoss NonMaxSuppression RNN ReverseSequence RoiAlign Scatter "
    "ScatterElements ScatterND Shape Size SoftmaxCrossEntropyLoss Trilu".split()
)
"""Ops of `SIZE_OPERANDS` whose operand says which elements, not how many."""
_COUNTED = frozenset({"Compress", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"})
"""Ops that give as many elements as their data says."""


def follow_from_shapes(model: ir.Model) -> frozenset[ir.Value] | None:
    """Values that are the same for all feeds of the same shapes.

    None where shapes of values may differ between such feeds. O(nodes).
    """
    found: set[ir.Value] = set()
    for node in model.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type in _COUNTED:
            return None
        if any(True for _ in bodies(node)) or _holds_sequences(node):
            return None
        operands = {i: each for i, each in enumerate(node.inputs) if each is not None}
        known = {i for i, each in operands.items() if each in found or is_constant(each)}
        sizes = () if node.op_type in _PLACES else SIZE_OPERANDS.get(node.op_type, ())
        if any(i in operands and i not in known for i in sizes):
            return None
        given = node.op_type in ("Shape", "Size") or len(known) == len(operands)
        if given and node.op_type not in RANDOM:
            found.update(node.outputs)
    return frozenset(found)


def _holds_sequences(node: ir.Node) -> bool:
    return "Sequence" in node.op_type or "Optional" in node.op_type


def _seeds(program: Program) -> Iterator[ir.Value]:
    """Values at size operands that are neither stored nor inputs of the program."""
    for node in all_nodes(program.model):
        for position in _positions(node):
            value = node.inputs[position] if position < len(node.inputs) else None
            if value is None or node.op_type in ("Shape", "Size") or is_constant(value):
                continue
            if value.producer() is not None or value.graph is not program.graph:
                yield value


def _positions(node: ir.Node) -> tuple[int, ...]:
    return SIZE_OPERANDS.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ()


def _passes(node: ir.Node) -> bool:
    """Whether what goes in as a number comes out as one, so that its use is that of its result."""
    if node.domain not in ("", "ai.onnx"):
        return False
    row = traits(node)
    return node.op_type in _PASSING or row.elementwise or row.moves_data


def _data_values(program: Program) -> set[ir.Value]:
    """Values with a use that is no size: backwards from outputs and from ops that read data."""
    data: set[ir.Value] = set()
    pending: list[ir.Value] = list(program.graph.outputs)
    for node in all_nodes(program.model):
        if not (_passes(node) or node.op_type in ("If", "Loop", "Scan")):
            pending.extend(_operands(node))
    owners = {
        body: node for graph in all_graphs(program.model) for node in graph for body in bodies(node)
    }
    while pending:
        value = pending.pop()
        if value in data:
            continue
        data.add(value)
        pending.extend(_behind(value, owners))
    return data


def _operands(node: ir.Node) -> list[ir.Value]:
    """The operands that are no sizes."""
    skipped = _positions(node)
    return [v for i, v in enumerate(node.inputs) if v is not None and i not in skipped]


def _behind(value: ir.Value, owners: dict[ir.Graph, ir.Node]) -> list[ir.Value]:
    """What `value` is computed from, through pass-through ops and the borders of bodies."""
    producer = value.producer()
    if producer is None:
        return _fed(value, owners)
    if producer.op_type in ("If", "Loop", "Scan") and producer.domain == "":
        index = list(producer.outputs).index(value)
        skipped = 1 if producer.op_type == "Loop" else 0
        results = [
            body.outputs[index + skipped]
            for body in bodies(producer)
            if index + skipped < len(body.outputs)
        ]
        started = _carried(producer, index)
        return results + ([started] if started is not None else [])
    return _operands(producer) if _passes(producer) else []


def _carried(node: ir.Node, index: int) -> ir.Value | None:
    """The operand that a loop's state `index` starts from."""
    body = next(iter(bodies(node)))
    if node.op_type == "Loop" and index < len(body.inputs) - 2:
        return node.inputs[index + 2]
    if node.op_type == "Scan":
        scanned = node.attributes.get_int("num_scan_inputs")
        return node.inputs[index] if index < len(body.inputs) - scanned else None
    return None


def _fed(value: ir.Value, owners: dict[ir.Graph, ir.Node]) -> list[ir.Value]:
    """What an input of a body is given: an operand of its owner, and the state of the last step."""
    graph = value.graph
    owner = owners.get(graph) if isinstance(graph, ir.Graph) else None
    if owner is None or graph is None or value not in graph.inputs:
        return []
    index = list(graph.inputs).index(value)
    found: list[ir.Value | None] = []
    if (index < len(owner.inputs) and owner.op_type != "Loop") or index > 1:
        found.append(owner.inputs[index] if index < len(owner.inputs) else None)
    state = index - 2 if owner.op_type == "Loop" else index
    if state >= 0 and _carried(owner, state) is not None:
        found.append(graph.outputs[index - 1 if owner.op_type == "Loop" else index])
    return [each for each in found if each is not None]
