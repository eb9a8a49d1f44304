"""What the engines get wrong in silence, as rules over one kernel call (`Site`).

Measured on torch 2.13 (docs/torch-engines.md, faults B1-B10). The same rules decide what a target
offers (`constraints.py`), before weights are quantized, and what the lowering accepts, on the real
integers. Faults of packing and of single operators (B5-B8, B10) are kept out by `adapter`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from qcompiler.quantization.saturation import pair_saturation

MIXED_GROUPS = 100
"""The x86 engine uses oneDNN up to this many groups."""

INT16_SAFE_WEIGHT = 64
"""255 * (64 + 64) = 32640 fits int16, so no pair of products can saturate."""


@dataclass(frozen=True, eq=False)
class Site:
    """One call of a weighted kernel.

    Attributes:
        kind: `conv`, `conv_transpose` or `linear`.
        engine: Which engine runs it.
        weight: int8 in torch's layout: [out, in/groups, ...], transposed [in, out/groups, ...].
        groups: Channel groups.
        x_zero_point: Zero point of the unsigned activations.
        x_max: Largest unsigned activation that can occur.
        per_channel: Whether there is one scale per output channel.
        zero_weights: Whether all weight zero points are 0.
        output_padding: Whether there is any.
        vnni: Whether the CPU asked for has 8-bit dot products.
    """

    kind: str
    engine: str
    weight: npt.NDArray[Any]
    groups: int = 1
    x_zero_point: int = 0
    x_max: int = 255
    per_channel: bool = False
    zero_weights: bool = True
    output_padding: bool = False
    vnni: bool = True

    @property
    def transposed(self) -> bool:
        return self.kind == "conv_transpose"

    @property
    def spatial(self) -> int:
        """Number of spatial axes."""
        return self.weight.ndim - 2

    @property
    def inputs(self) -> int:
        """Input channels per group."""
        return int(self.weight.shape[0] // self.groups if self.transposed else self.weight.shape[1])

    @property
    def outputs(self) -> int:
        """Output channels per group."""
        return int(self.weight.shape[1] if self.transposed else self.weight.shape[0] // self.groups)

    @property
    def depthwise(self) -> bool:
        return self.kind == "conv" and self.inputs == 1 and self.groups > 1

    @property
    def on_fbgemm(self) -> bool:
        """Whether FBGEMM runs it: x86 hands it convolutions of more than 100 groups.

        Rule: `should_use_onednn_quant`, aten/src/ATen/native/quantized/cpu/OnednnUtils.h.
        """
        mixed = self.engine == "x86" and (self.groups > MIXED_GROUPS or not self.vnni)
        return self.engine == "fbgemm" or mixed

    @property
    def largest_weight(self) -> int:
        return int(np.abs(self.weight.astype(np.int16)).max(initial=0))


@dataclass(frozen=True)
class Fault:
    """A rule: `check` gives the reason why the engine would be wrong, or None.

    Attributes:
        name: Number in docs/torch-engines.md.
        check: Site -> reason.
        reference: Where it was seen.
    """

    name: str
    check: Callable[[Site], str | None]
    reference: str


def _depthwise_int16(site: Site) -> str | None:
    if not site.on_fbgemm or not site.depthwise or site.spatial < 2:
        return None
    if site.largest_weight <= INT16_SAFE_WEIGHT:
        return None
    if site.x_max <= 127 and site.x_zero_point <= 127:
        return None
    return (
        "fbgemm's depthwise kernel sums in int16: it needs activations and zero point up to 127, "
        f"or weights up to {INT16_SAFE_WEIGHT}"
    )


def _narrow_groups(site: Site) -> str | None:
    if not site.on_fbgemm or site.kind != "conv" or site.weight.shape[2:] != (3, 3):
        return None
    narrow = site.groups > 1 and site.inputs == site.outputs and site.inputs in (2, 4)
    if not narrow or site.weight.shape[0] % 16 == 0:
        return None
    return (
        f"fbgemm's grouped 3x3 kernel with {site.inputs} channels per group is wrong, and writes "
        f"beyond its memory, unless channels are a multiple of 16 (here {site.weight.shape[0]})"
    )


def _small_transposed(site: Site) -> str | None:
    if site.engine != "fbgemm" or not site.transposed or site.spatial != 2 or site.groups != 1:
        return None
    kernel = site.weight.shape[2:]
    if kernel[0] != 2 or prod(kernel) > 6 or site.inputs % 8:
        return None
    if site.x_max <= 127 and site.largest_weight <= 63:
        return None
    return "fbgemm's 2x2 ConvTranspose saturates unless activations <= 127 and weights <= 63"


def _unequal_transposed(site: Site) -> str | None:
    if site.engine not in ("onednn", "x86") or not site.transposed or site.inputs == site.outputs:
        return None
    return (
        f"ConvTranspose with {site.inputs} input and {site.outputs} output channels per group "
        f"is wrong on {site.engine}"
    )


def _transposed_3d(site: Site) -> str | None:
    if site.engine == "qnnpack" and site.transposed and site.spatial == 3:
        return "ConvTranspose in 3-D is wrong on qnnpack"
    return None


def _int16_pairs(site: Site) -> str | None:
    if site.vnni or site.engine == "qnnpack" or site.depthwise:
        return None
    if not saturates(site):
        return None
    return (
        f"without VNNI {site.engine} adds pairs of products in int16, and this layer has a pair "
        f"with (|w1| + |w2|) * {site.x_max} > 32767"
    )


def _per_channel_transposed(site: Site) -> str | None:
    if not site.transposed or not site.per_channel:
        return None
    if site.engine == "qnnpack" and site.groups == 1:
        return None
    return f"ConvTranspose with one scale per channel does not exist on {site.engine}"


def _padded_transposed(site: Site) -> str | None:
    if site.engine in ("onednn", "x86") and site.transposed and site.output_padding:
        return "ConvTranspose with output_padding does not exist on onednn"
    return None


def _weight_zero_point(site: Site) -> str | None:
    if site.engine in ("onednn", "x86") and not site.zero_weights:
        return f"weights with a zero point do not exist on {site.engine}"
    return None


def saturates(site: Site) -> bool:
    """Whether some pair of products that the kernel adds in int16 can leave its range.

    fbgemm packs pairs along K = (taps, channels) as im2col lays them out; oneDNN pairs channels of
    one tap, padded to four. Transposed convolutions pair in an order of their own, so any two
    weights of a channel may meet there.
    """
    weight = site.weight
    if site.transposed:
        return bool(pair_saturation(weight, site.x_max, axis=1, adjacent=False).any())
    if weight.ndim > 2:
        weight = np.moveaxis(weight, 1, -1)
    if site.engine == "fbgemm":
        return bool(pair_saturation(weight, site.x_max).any())
    padded = np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, -weight.shape[-1] % 4)])
    both = [pair_saturation(each, site.x_max).any() for each in (weight, padded)]
    return bool(any(both))


FAULTS: tuple[Fault, ...] = (
    Fault("B1", _depthwise_int16, "measured: 2-66 % of outputs, up to 67 LSB"),
    Fault("B11", _narrow_groups, "measured: up to 57 % of outputs, 255 LSB, or heap corruption"),
    Fault("B2", _small_transposed, "measured: 20-70 % of outputs, up to 7 LSB"),
    Fault("B3", _unequal_transposed, "measured: 93 % of outputs, up to 255 LSB"),
    Fault("B4", _transposed_3d, "measured: 83-100 % of outputs"),
    Fault("B9", _int16_pairs, "pytorch/pytorch 44939, 103646; FBGEMM 125"),
    Fault("T11", _per_channel_transposed, "torch: per-channel ConvTranspose is disabled"),
    Fault("E1", _padded_transposed, "onednn refuses it"),
    Fault("E2", _weight_zero_point, "onednn refuses it"),
)


def objections(site: Site, faults: tuple[Fault, ...] = FAULTS) -> list[tuple[Fault, str]]:
    """Every rule the call breaks, with its reason."""
    found = ((fault, fault.check(site)) for fault in faults)
    return [(fault, reason) for fault, reason in found if reason is not None]


def without(*names: str) -> tuple[Fault, ...]:
    """The rules except these: for tests that show what a rule is there for."""
    return tuple(fault for fault in FAULTS if fault.name not in names)
