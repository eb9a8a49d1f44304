"""Reads the builder's verbose layer list: which ONNX node was compiled for which types.

Without a GPU the engine inspector cannot be used (it needs a deserialized engine), but with
detailed profiling verbosity the builder logs every compiled layer with the type of each operand
and the ONNX nodes that it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

HEAVY_KINDS = frozenset({"correlation", "gemm", "runtime_fusion", "convolution", "deconvolution"})
"""Layer kinds that multiply matrices; the others (`kgen`, pools, copies) are elementwise."""

_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=\s*(?:\[|$))")
_TYPE = re.compile(r"Datatype: (\w+)")


@dataclass(frozen=True)
class CompiledLayer:
    """One layer of the compiled plan.

    Attributes:
        name: The builder's own name.
        kind: `correlation` (convolution), `gemm`, `kgen` (generated elementwise kernel), ...
        inputs: Element types of the run-time operands, such as `Int8` or `Float`.
        constants: Element types of the constant operands.
        outputs: Element types of the results.
        nodes: Names of the ONNX nodes it was made from.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]

    @property
    def heavy(self) -> bool:
        """Whether the layer is a convolution or a matrix product."""
        return self.kind in HEAVY_KINDS

    @property
    def computes_in(self) -> str:
        """Types of the two multiplied operands: `Int8`, `Float`; `Half x Int4` if they differ."""
        pair = (self.inputs + self.constants)[:2]
        return pair[0] if len(set(pair)) == 1 else " x ".join(pair)


def parse_layers(text: str) -> tuple[CompiledLayer, ...]:
    """The layers in one `Layers:` message of the builder's log, in execution order."""
    lines = [line for line in text.splitlines() if line.startswith("Name: ")]
    return tuple(_parse_line(line) for line in lines)


def compiled_types(layers: Iterable[CompiledLayer]) -> Mapping[str, str]:
    """ONNX node name -> types it was compiled for; the heavy layer decides where there is one."""
    types: dict[str, str] = {}
    decided: set[str] = set()
    for layer in layers:
        for node in layer.nodes:
            if layer.heavy:
                types[node] = layer.computes_in
                decided.add(node)
            elif node not in decided:
                types.setdefault(node, layer.computes_in if layer.inputs else "")
    return types


def _parse_line(line: str) -> CompiledLayer:
    head, metadata = _split(line, "Metadata:")
    body, outputs = _split(head, "Outputs: [")
    body, constants = _split(body, "Constants: [")
    body, inputs = _split(body, "Inputs: [")
    kind = re.search(r"LayerType: (\w+)", body)
    name = re.match(r"Name: (.*?), LayerType", body)
    return CompiledLayer(
        name=name.group(1) if name else "",
        kind=kind.group(1).lower() if kind else "",
        inputs=tuple(_TYPE.findall(inputs)),
        constants=tuple(_TYPE.findall(constants)),
        outputs=tuple(_TYPE.findall(outputs.split("TacticName:")[0])),
        nodes=tuple(_NODE.findall(metadata)),
    )


def _split(text: str, mark: str) -> tuple[str, str]:
    before, _, after = text.partition(mark)
    return before, after
