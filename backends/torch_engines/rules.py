"""What torch's kernels ask of a node, each rule once: capability rows and the lowering read it.

Every rule gives the reason why a node has no kernel, or None. A fact that is not known yet bars
nothing in the lowering, where integers are already there to be moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose

import numpy as np
import onnx_ir as ir

from qcompiler.ir.paddings import transposed_cut
from qcompiler.lowering.torch_fx.constants import array_of


def pad_objection(node: ir.Node) -> str | None:
    """The quantized pad fills with a constant."""
    if node.attributes.get_string("mode", "constant") != "constant":
        return "the kernel pads with a constant"
    given = node.inputs[2] if len(node.inputs) > 2 else None
    known = given is None or array_of(given) is not None
    return None if known else "its fill is computed at run time"


def wide_fill(node: ir.Node) -> str | None:
    """0 lies in every range; another fill would widen the scale that the data shares with it."""
    given = array_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if given is None or not np.any(given):
        return None
    return "a fill other than 0 would share its scale with the data"


def resize_objection(node: ir.Node) -> str | None:
    """Only nearest, asymmetric, floor copies elements in torch."""
    attributes = node.attributes
    form = (
        attributes.get_string("mode", "nearest"),
        attributes.get_string("coordinate_transformation_mode", "half_pixel"),
        attributes.get_string("nearest_mode", "round_prefer_floor"),
    )
    if form != ("nearest", "asymmetric", "floor"):
        return "only nearest, asymmetric, floor copies elements"
    return None


def max_pool_objection(node: ir.Node) -> str | None:
    """torch's quantized maximum gives no indices."""
    asked = any(v.name and (v.is_graph_output() or v.uses()) for v in node.outputs[1:])
    return "the kernel gives no indices" if asked else None


def planar_objection(node: ir.Node) -> str | None:
    """qnnpack has no maximum over windows of three axes."""
    if len(node.attributes.get_ints("kernel_shape", ())) > 2:
        return "qnnpack has no kernel for three spatial axes"
    return None


def factors_objection(node: ir.Node) -> str | None:
    """linear is x @ w + b."""
    attributes = node.attributes
    if attributes.get_int("transA", 0):
        return "Gemm with transA"
    given = node.inputs[2] if len(node.inputs) > 2 else None
    scaled = attributes.get_float("alpha", 1.0) != 1.0
    if scaled or (given is not None and attributes.get_float("beta", 1.0) != 1.0):
        return "Gemm with alpha or beta"
    return None


def bias_objection(bias: ir.Value | None, columns: int) -> str | None:
    """A bias is one number, or one per column, and stored."""
    if bias is None:
        return None
    array = array_of(bias)
    if array is None:
        return "the bias is computed at run time"
    if array.size in (1, columns) and array.size == max(array.shape[-1:] or (1,)):
        return None
    return f"a bias of shape {list(array.shape)} is no row"


def transposed_pads(node: ir.Node, kernel: Sequence[int]) -> list[int] | str:
    """[begin..., end...] pads of a ConvTranspose, or why the kernels do not take them.

    The kernels take one number per axis; what an output shape asks for beyond is not computed.
    """
    attributes = node.attributes
    rank = len(kernel)
    shape = list(attributes.get_ints("output_shape", ()))
    auto_pad = attributes.get_string("auto_pad", "NOTSET")
    sizes = known_sizes(node)
    if sizes is None and (shape or auto_pad.startswith("SAME")):
        return "its pads follow from a size that is known at run time only"
    ones, none = [1] * rank, [0] * rank
    pads = transposed_cut(
        sizes or kernel,
        kernel,
        list(attributes.get_ints("strides", ())) or ones,
        list(attributes.get_ints("dilations", ())) or ones,
        list(attributes.get_ints("output_padding", ())) or none,
        list(attributes.get_ints("pads", ())) or None,
        auto_pad,
        shape or None,
    )
    if pads[:rank] != pads[rank:]:
        return "its pads differ at the two ends"
    return "its output is larger than its result" if min(pads) < 0 else pads


def transposed_objection(node: ir.Node) -> str | None:
    """Why a ConvTranspose has no kernel, as far as its pads go."""
    weight = node.inputs[1]
    if weight is None or weight.shape is None:
        return None
    kernel = [size for size in weight.shape[2:] if isinstance(size, int)]
    found = transposed_pads(node, kernel)
    return found if isinstance(found, str) else None


def known_sizes(node: ir.Node) -> list[int] | None:
    """The spatial sizes of a window's data, None if one is free."""
    data = node.inputs[0]
    if data is None or data.shape is None:
        return None
    sizes = [size for size in data.shape[2:] if isinstance(size, int)]
    return sizes if len(sizes) == len(data.shape) - 2 else None


def sixth_objection(node: ir.Node) -> str | None:
    """torch's hardsigmoid is clamp(x / 6 + 0.5, 0, 1)."""
    alpha = node.attributes.get_float("alpha", 0.2)
    beta = node.attributes.get_float("beta", 0.5)
    if isclose(alpha, 1 / 6, rel_tol=1e-6) and isclose(beta, 0.5, rel_tol=1e-6):
        return None
    return f"the kernel has alpha 1/6 and beta 0.5, this one {alpha:g} and {beta:g}"


def bounds_objection(node: ir.Node) -> str | None:
    """Relu, or Clip with constant bounds, are cut on the integers."""
    given = [value for value in node.inputs[1:3] if value is not None]
    if node.op_type == "Relu" or all(_is_number(value) for value in given):
        return None
    return "its bounds are computed at run time"


def _is_number(value: ir.Value) -> bool:
    array = array_of(value)
    return array is not None and array.size == 1


def mean_objection(node: ir.Node) -> str | None:
    """A mean over the two last axes of NCHW, as exporters write global pooling."""
    axes = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
    data = node.inputs[0]
    dims = None if data is None or data.shape is None else len(data.shape)
    if dims != 4 or axes is None or sorted(int(a) % 4 for a in np.reshape(axes, -1)) != [2, 3]:
        return "only means over the two last axes of NCHW are quantized"
    return None
