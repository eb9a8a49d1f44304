"""QuantizeLinear, DequantizeLinear and observers: are their parameters what ONNX 21 wants?

Source: ONNX operator documentation, QuantizeLinear-21 and DequantizeLinear-21.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

Problem = tuple[str, str]

_SCALES = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


def check_quantize(node: ir.Node) -> Iterator[Problem]:
    """V07 for QuantizeLinear: also that zero point, output and `output_dtype` are one type."""
    yield from _check_parameters(node)
    zero_point = _operand(node, 2)
    declared = node.attributes.get_int("output_dtype", 0)
    stored = node.outputs[0].dtype
    point = None if zero_point is None else zero_point.dtype
    if declared and point is not None and point.value != declared:
        yield "V07", f"output_dtype is {ir.DataType(declared).name}, the zero point {point.name}"
    wanted = point or (ir.DataType(declared) if declared else ir.DataType.UINT8)
    unknown = zero_point is not None and point is None
    if stored is not None and stored != wanted and not unknown:
        yield "V07", f"'{node.outputs[0].name}' is {stored.name}, but the node makes {wanted.name}"


def check_dequantize(node: ir.Node) -> Iterator[Problem]:
    """V07 for DequantizeLinear: also that an int32 bias has zero point 0."""
    yield from _check_parameters(node)
    data, zero_point = _operand(node, 0), _operand(node, 2)
    if data is None or zero_point is None:
        return
    if None not in (data.dtype, zero_point.dtype) and data.dtype != zero_point.dtype:
        yield "V07", f"'{data.name}' is {data.dtype}, its zero point {zero_point.dtype}"
    tensor = zero_point.const_value
    if data.dtype == ir.DataType.INT32 and tensor is not None and tensor.numpy().any():
        yield "V07", f"the zero point of the int32 tensor '{data.name}' is not 0"


def _operand(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _check_parameters(node: ir.Node) -> Iterator[Problem]:
    data, scale, zero_point = (_operand(node, index) for index in range(3))
    if scale is None or data is None:
        return  # V05 has said so
    if scale.dtype is not None and scale.dtype not in _SCALES:
        yield "V07", f"scale '{scale.name}' is {scale.dtype.name}, not a float type"
    yield from _check_scale_values(scale)
    shape, steps = _dims(data), _dims(scale)
    if zero_point is not None:
        zeros = _dims(zero_point)
        if steps is not None and zeros is not None and not _fits(steps, zeros):
            yield "V07", f"scale has shape {list(steps)}, zero point {list(zeros)}"
    if steps is None:
        return
    block = node.attributes.get_int("block_size", 0)
    axis = node.attributes.get_int("axis", 1)
    if block:
        yield from _check_blocks(shape, steps, axis, block)
    elif len(steps) > 1:
        yield "V07", f"a scale of shape {list(steps)} needs a block_size"
    elif steps and (steps != (1,) or _is_channel_axis(shape, axis)):
        yield from _check_channels(shape, steps[0], axis)


def _is_channel_axis(shape: tuple[int | None, ...] | None, axis: int) -> bool:
    """Whether one entry means one channel: a tensor without that axis can only mean per tensor."""
    return shape is not None and -len(shape) <= axis < len(shape) and shape[axis] == 1


def _check_scale_values(scale: ir.Value) -> Iterator[Problem]:
    tensor = scale.const_value
    if tensor is None or tensor.dtype not in _SCALES:
        return
    steps = tensor.numpy().astype("float32")
    if not (steps > 0).all():
        yield "V07", f"scale '{scale.name}' has entries that are not positive numbers"


def _check_channels(
    shape: tuple[int | None, ...] | None, entries: int | None, axis: int
) -> Iterator[Problem]:
    if shape is None:
        return
    if not -len(shape) <= axis < len(shape):
        yield "V07", f"axis {axis} is outside of a tensor of rank {len(shape)}"
        return
    channels = shape[axis]
    if None not in (channels, entries) and channels != entries:
        yield "V07", f"{entries} scales for {channels} channels on axis {axis}"


def _check_blocks(
    shape: tuple[int | None, ...] | None, steps: tuple[int | None, ...], axis: int, block: int
) -> Iterator[Problem]:
    if shape is None:
        return
    if block < 0 or len(steps) != len(shape) or not -len(shape) <= axis < len(shape):
        yield (
            "V07",
            f"block_size {block}, axis {axis} and scales {list(steps)} fit no {len(shape)}-d",
        )
        return
    for index, (size, count) in enumerate(zip(shape, steps, strict=True)):
        if size is None or count is None:
            continue
        wanted = -(-size // block) if index == axis % len(shape) else size
        if count != wanted:
            yield "V07", f"dimension {index} has {count} scales, block_size {block} needs {wanted}"


def _dims(value: ir.Value) -> tuple[int | None, ...] | None:
    """The shape, dynamic dimensions as None; a constant's own shape if it has one."""
    if value.const_value is not None:
        return tuple(value.const_value.shape.numpy())
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def _fits(one: tuple[int | None, ...], two: tuple[int | None, ...]) -> bool:
    """Whether they are one shape; per tensor, engines take a scalar beside a list of one.

    ONNX Runtime's own quantizer writes biases so.
    """
    if {one, two} == {(), (1,)}:
        return True
    return len(one) == len(two) and all(
        a == b for a, b in zip(one, two, strict=True) if a is not None and b is not None
    )
