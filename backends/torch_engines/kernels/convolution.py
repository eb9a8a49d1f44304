"""Convolutions: packed int8 weights, float bias, fused relu and add."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import fx

from qcompiler.backends.torch_engines import adapter
from qcompiler.backends.torch_engines.depthwise import (
    CHANNELS_PER_GROUP,
    Margins,
    can_regroup,
    centred_margins,
    regroup,
)
from qcompiler.backends.torch_engines.faults import objections
from qcompiler.backends.torch_engines.kernels.island import (
    Choice,
    Island,
    Refusal,
    Setting,
    Writer,
    input_levels,
)
from qcompiler.backends.torch_engines.kernels.residual import overwriting_objection
from qcompiler.backends.torch_engines.kernels.weighted import bias_of, finish, operand, site_of
from qcompiler.backends.torch_engines.rules import (
    known_sizes,
    transposed_pads,
)
from qcompiler.ir.paddings import window_pads
from qcompiler.lowering.torch_fx.constants import (
    Array,
    IntegerWeight,
    weight_of,
)
from qcompiler.lowering.torch_fx.ops.convolution import cut_outputs
from qcompiler.lowering.torch_fx.ops.window import pad_constant, torch_pad

Convolution = tuple[IntegerWeight, "Array | None", adapter.Window, "list[int] | None"]


def conv(island: Island, setting: Setting) -> Choice:
    """conv1d, conv2d, conv3d, depthwise and grouped too, with fused relu."""
    built = _convolution(island.core, island, setting)
    if isinstance(built, Refusal):
        return built
    weight, bias, window, pads = built
    margins = _margins(weight, window, pads, setting)
    if margins is not None:
        window, pads = replace(window, padding=margins.padding), list(margins.before)
    weight, window = _regrouped(weight, window, setting)
    name = f"conv{window.rank}d"
    if island.residual is not None:
        refused = _fusing_objection(island, setting, window.rank)
        if refused is not None:
            return Refusal(refused)

    def emit(writer: Writer) -> fx.Node:
        source = x = writer.integer(operand(island.core, 0))
        if pads is not None and any(pads):
            x = writer.call(pad_constant, x, torch_pad(pads))
        packed = adapter.pack_conv(weight.values, weight.scale, weight.zero_point, bias, window)
        if island.residual is not None:
            return _emit_fused_add(island, writer, x, packed)
        kernel = adapter.op(f"{name}{'_relu' if island.relu else ''}{_overload(name)}")
        held = writer.attribute("packed", packed)
        result = writer.call(kernel, x, held, island.output.scale, island.output.zero_point)
        result = _cut(writer, result, source, margins)
        return result if island.relu else finish(island, writer, result)

    return emit


def _fusing_objection(island: Island, setting: Setting, rank: int) -> str | None:
    if rank != 2 or not adapter.supports_fused_add(setting.engine):
        return f"{setting.engine} has no kernel for a {rank}-D convolution and an addition"
    return overwriting_objection(island)


def _emit_fused_add(island: Island, writer: Writer, x: fx.Node, packed: Any) -> fx.Node:
    """conv2d_add: writes into the skip operand, which nobody reads later."""
    assert island.residual is not None
    skip = writer.integer(island.residual)
    held = writer.attribute("packed", packed)
    kernel = adapter.op("conv2d_add_relu" if island.relu else "conv2d_add")
    result = writer.call(kernel, x, skip, held, island.output.scale, island.output.zero_point)
    return result if island.relu else finish(island, writer, result)


def conv_transpose(island: Island, setting: Setting) -> Choice:
    """conv_transpose1d, 2d, 3d."""
    core = island.core
    built = _convolution(core, island, setting)
    if isinstance(built, Refusal):
        return built
    weight, bias, window, pads = built
    assert pads is None, "`transposed_pads` refuses others"

    def emit(writer: Writer) -> fx.Node:
        packed = adapter.pack_conv(weight.values, weight.scale, weight.zero_point, bias, window)
        held = writer.attribute("packed", packed)
        kernel = adapter.op(f"conv_transpose{window.rank}d")
        x = writer.integer(operand(core, 0))
        result = writer.call(kernel, x, held, island.output.scale, island.output.zero_point)
        return finish(island, writer, result)

    return emit


def _convolution(core: ir.Node, island: Island, setting: Setting) -> Convolution | Refusal:
    """Weight, bias, geometry and uneven pads of a convolution that the engine runs right."""
    levels = input_levels(core.inputs[0])
    if levels is None:
        return Refusal("its input is not quantized per tensor in 8 bits")
    transposed = core.op_type == "ConvTranspose"
    weight = weight_of(core.inputs[1])
    if weight is None:
        return Refusal("its weight is not a quantized constant")
    if weight.scale.ndim and weight.axis != (1 if transposed else 0):
        return Refusal(f"its weight has scales along axis {weight.axis}")
    channels = weight.values.shape[1 if transposed else 0]
    groups = core.attributes.get_int("group", 1)
    bias = bias_of(island, channels * groups if transposed else channels)
    if isinstance(bias, Refusal):
        return bias
    geometry = _geometry(core, weight.values.shape[2:], transposed)
    if isinstance(geometry, Refusal):
        return geometry
    window, pads = geometry
    checked, grouping = weight, window
    if not transposed:
        checked, grouping = _regrouped(weight, window, setting)
    site = site_of(
        "conv_transpose" if transposed else "conv", checked, setting, levels.zero_point, grouping
    )
    wrong = objections(site, setting.faults)
    if wrong:
        return Refusal("; ".join(reason for _, reason in wrong))
    return weight, bias, window, pads


def _margins(
    weight: IntegerWeight, window: adapter.Window, pads: list[int] | None, setting: Setting
) -> Margins | None:
    """Extra margins for a depthwise layer that fbgemm would otherwise run channel by channel."""
    site = site_of("conv", weight, setting, 0, window)
    if not site.on_fbgemm or not site.depthwise or window.rank != 2 or set(window.dilation) != {1}:
        return None
    around = pads if pads is not None else list(window.padding) * 2
    return centred_margins(weight.values.shape[2:], window.stride, around)


def _cut(writer: Writer, result: fx.Node, source: fx.Node, margins: Margins | None) -> fx.Node:
    if margins is None:
        return result
    return writer.call(
        cut_outputs,
        result,
        source,
        first=list(margins.first),
        pads=list(margins.pads),
        kernel=list(margins.kernel),
        strides=list(margins.strides),
    )


def _regrouped(
    weight: IntegerWeight, window: adapter.Window, setting: Setting
) -> tuple[IntegerWeight, adapter.Window]:
    """Depthwise 3x3 as groups of four on fbgemm; everything else as it is."""
    regrouping = can_regroup(
        setting.engine,
        weight.values.shape,
        window.groups,
        window.stride,
        window.dilation,
    )
    if not regrouping or not setting.regroup or np.any(weight.zero_point):
        return weight, window
    spread = replace(weight, values=regroup(weight.values))
    return spread, replace(window, groups=window.groups // CHANNELS_PER_GROUP)


def _geometry(
    core: ir.Node, kernel: tuple[int, ...], transposed: bool
) -> tuple[adapter.Window, list[int] | None] | Refusal:
    rank = len(kernel)
    if not 1 <= rank <= 3:
        return Refusal(f"it has {rank} spatial axes")
    strides = list(core.attributes.get_ints("strides", ())) or [1] * rank
    dilations = list(core.attributes.get_ints("dilations", ())) or [1] * rank
    auto_pad = core.attributes.get_string("auto_pad", "NOTSET")
    extra = tuple(core.attributes.get_ints("output_padding", ())) or (0,) * rank
    if transposed:
        cut = transposed_pads(core, kernel)
        if isinstance(cut, str):
            return Refusal(cut)
        pads = cut
    else:
        sizes = known_sizes(core)
        if auto_pad.startswith("SAME") and sizes is None:
            return Refusal("auto_pad needs a size that is not known")
        given = list(core.attributes.get_ints("pads", ())) or None
        pads = window_pads(sizes or kernel, kernel, strides, dilations, given, auto_pad)
    groups = core.attributes.get_int("group", 1)
    even = pads[:rank] == pads[rank:]
    window = adapter.Window(
        tuple(strides),
        tuple(pads[:rank]) if even else (0,) * rank,
        tuple(dilations),
        groups,
        extra if transposed else (),
        transposed,
    )
    return window, None if even else pads


def _overload(name: str) -> str:
    return "" if name == "conv1d" else ".new"
