"""What torch's kernels ask of a node, each rule once: capability rows and the lowering read it.

Every rule gives the reason why a node has no kernel, or None. A fact that is not known yet bars
nothing in the lowering, where integers are already there to be moved.
"""

from __future__ import annotations

from math import isclose

import numpy as np
import onnx_ir as ir

from qcompiler.backends.torch_engines.constants import array_of


def pad_objection(node: ir.Node) -> str | None:
    """The quantized pad fills with a constant; another one than 0 would widen the shared scale."""
    if node.attributes.get_string("mode", "constant") != "constant":
        return "the kernel pads with a constant"
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        return None
    fill = array_of(given)
    if fill is None:
        return "its fill is computed at run time"
    return None if not np.any(fill) else "a fill other than 0 would share its scale with the data"


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
