"""`convolve-transposed`: ConvTranspose → Conv at the input's size and DepthToSpace.

With stride s, output s·q + r takes weights r, r + s, r + 2s, ... only: s sub-kernels of the M =
ceil(K / s) taps each, one for every phase r (Shi et al., Is the deconvolution layer the same as a
convolutional layer?, arXiv 1609.07009). Run side by side as channels of one Conv, their outputs are
interleaved by DepthToSpace. Exact: the same products, sums in another order; for K no multiple of s
some of the weights are 0. ONNX Runtime has integers for Conv and for DepthToSpace, and none for
ConvTranspose, whose float kernel is a product and a scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from qcompiler.frontends.inference import infer_types
from qcompiler.ir.program import Program
from qcompiler.ir.rewriter import Rewriter
from qcompiler.ir.walk import all_nodes, constant, is_op
from qcompiler.pipeline.contract import Outcome, Pass, PassContext, Stage

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ConvolveTransposed(Pass):
    """Writes ConvTranspose with a stride, over one axis or two equal ones, as a convolution.

    Left as it is: dilations, `auto_pad` and `output_shape`, weights that are computed, strides of
    1 or that differ, and output padding beyond what the kernel reaches.
    """

    name: ClassVar[str] = "convolve-transposed"
    stage: ClassVar[Stage] = Stage.FLOAT
    gains: ClassVar[str] = "latency"

    def price(self, samples: int) -> str:
        return "a timing"

    def apply(self, program: Program, rewriter: Rewriter, context: PassContext) -> Outcome:
        nodes = [each for each in all_nodes(program.model) if is_op(each, "ConvTranspose")]
        rewritten = sum(_rewrite(each, rewriter) for each in nodes)
        if rewritten:
            infer_types(program.model)
        return Outcome(details={"rewritten": rewritten})


@dataclass(frozen=True)
class _Form:
    """A ConvTranspose that can be rewritten.

    Attributes:
        weight: [Cin, Cout / groups, K] or [Cin, Cout / groups, K, K'].
        groups: Of channels.
        stride: Of every axis.
        taps: Of a sub-kernel, by axis.
        crop: Elements to drop at the start and at the end of every axis.
    """

    weight: Array
    groups: int
    stride: int
    taps: tuple[int, ...]
    crop: tuple[tuple[int, int], ...]

    @property
    def skipped(self) -> tuple[tuple[int, int], ...]:
        """Whole groups of phases that are cropped, which are not computed at all."""
        return tuple((start // self.stride, end // self.stride) for start, end in self.crop)

    @property
    def margins(self) -> tuple[tuple[int, int], ...]:
        """Padding of the convolution."""
        return tuple(
            (taps - 1 - start, taps - 1 - end)
            for taps, (start, end) in zip(self.taps, self.skipped, strict=True)
        )

    @property
    def phases(self) -> int:
        """Channels of the convolution for each one of the result."""
        return int(self.stride ** len(self.taps))


def _form(node: ir.Node) -> _Form | None:
    weight = constant(node.inputs[1])
    if weight is None or weight.ndim not in (3, 4) or weight.size == 0:
        return None
    kernel, axes = weight.shape[2:], weight.ndim - 2
    attributes = node.attributes
    if attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    if attributes.get_ints("output_shape", ()) or any(
        each != 1 for each in attributes.get_ints("dilations", ())
    ):
        return None
    strides = set(attributes.get_ints("strides", (1,) * axes))
    if len(strides) != 1 or strides == {1}:
        return None
    stride = strides.pop()
    taps = tuple(-(-each // stride) for each in kernel)
    pads = tuple(attributes.get_ints("pads", (0,) * (2 * axes)))
    beyond = attributes.get_ints("output_padding", (0,) * axes)
    crop = tuple(
        (pads[i], stride * taps[i] - kernel[i] + pads[axes + i] - beyond[i]) for i in range(axes)
    )
    form = _Form(weight, attributes.get_int("group", 1), stride, taps, crop)
    if any(side < 0 for pair in (*form.crop, *form.margins) for side in pair):
        return None
    return form


def _rewrite(node: ir.Node, rewriter: Rewriter) -> bool:
    """Whether it was possible."""
    form, output = _form(node), node.outputs[0]
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    numbers = None if bias is None else constant(bias)
    if form is None or weight is None or (bias is not None and numbers is None):
        return False
    kind = weight.dtype
    inputs = [node.inputs[0], rewriter.constant(_sub_kernels(form), f"{output.name}_phases")]
    if numbers is not None:
        repeated = np.repeat(numbers, form.phases)
        inputs.append(rewriter.constant(repeated, f"{output.name}_phases_bias"))
    convolved = rewriter.insert(
        "Conv",
        inputs,
        before=node,
        attributes={
            "kernel_shape": list(form.taps),
            "strides": [1] * len(form.taps),
            "pads": [pair[0] for pair in form.margins] + [pair[1] for pair in form.margins],
            "group": form.groups,
        },
        outputs=(f"{output.name}_phases_conv",),
        origin=(node,),
        dtype=kind,
    ).outputs[0]
    whole = _interleaved(convolved, form, node, rewriter)
    crop = [
        (start - form.stride * lead, end - form.stride * tail)
        for (start, end), (lead, tail) in zip(form.crop, form.skipped, strict=True)
    ]
    rewriter.take_over(_cropped(whole, crop, node, rewriter), output)
    return True


def _sub_kernels(form: _Form) -> Array:
    """Weights of the Conv: [Cout · phases, Cin / groups, *taps], phases of a channel together."""
    inputs, outputs = form.weight.shape[:2]
    axes, stride = len(form.taps), form.stride
    room = [(0, 0), (0, 0)]
    room += [
        (0, taps * stride - size)
        for taps, size in zip(form.taps, form.weight.shape[2:], strict=True)
    ]
    padded = np.pad(form.weight, room)
    # k = r + s·m of each axis → m, r; the taps of a convolution run the other way round.
    split = padded.reshape(
        form.groups,
        inputs // form.groups,
        outputs,
        *(each for taps in form.taps for each in (taps, stride)),
    )
    split = np.flip(split, axis=tuple(3 + 2 * axis for axis in range(axes)))
    taps_at = [3 + 2 * axis for axis in range(axes)]
    phases_at = [4 + 2 * axis for axis in range(axes)]
    ordered = split.transpose(0, 2, *phases_at, 1, *taps_at)
    channels = form.groups * outputs * form.phases
    shape = (channels, inputs // form.groups, *form.taps)
    return np.ascontiguousarray(ordered.reshape(shape))


def _interleaved(value: ir.Value, form: _Form, node: ir.Node, rewriter: Rewriter) -> ir.Value:
    """[N, C · phases, ...] → [N, C, stride times as long ...]."""
    stem, kind = f"{node.outputs[0].name}_phases", value.dtype

    def step(op: str, operands: Sequence[ir.Value], **attributes: Any) -> ir.Value:
        return rewriter.insert(
            op, operands, before=node, attributes=attributes, outputs=(f"{stem}_{op.lower()}",),
            origin=(node,), dtype=kind,
        ).outputs[0]  # fmt: skip

    if len(form.taps) == 2:
        return step("DepthToSpace", [value], blocksize=form.stride, mode="CRD")
    channels = form.groups * form.weight.shape[1]
    apart = np.array([0, channels, form.stride, -1], np.int64)
    joined = np.array([0, channels, -1], np.int64)
    found = step("Reshape", [value, rewriter.constant(apart, f"{stem}_apart")])
    found = step("Transpose", [found], perm=[0, 1, 3, 2])
    return step("Reshape", [found, rewriter.constant(joined, f"{stem}_joined")])


def _cropped(
    value: ir.Value, crop: Sequence[tuple[int, int]], node: ir.Node, rewriter: Rewriter
) -> ir.Value:
    cut = [(axis + 2, start, end) for axis, (start, end) in enumerate(crop) if start or end]
    if not cut:
        return value
    stem = f"{node.outputs[0].name}_crop"
    last = np.iinfo(np.int64).max
    ends = [-end if end else last for _, _, end in cut]
    numbers = ([start for _, start, _ in cut], ends, [axis for axis, _, _ in cut])
    bounds = [rewriter.constant(np.array(each, np.int64), stem) for each in numbers]
    return rewriter.insert(
        "Slice", [value, *bounds], before=node, outputs=(stem,), origin=(node,), dtype=value.dtype
    ).outputs[0]
