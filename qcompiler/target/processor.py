"""What a target may rely on of the processor: 8-bit dot products (VNNI), or pair sums in int16.

Kernels for x86 without VNNI multiply u8 by s8 with `vpmaddubsw`, which adds pairs of products in
int16 with saturation: results are wrong without a word where weights are large (ONNX Runtime,
Quantize ONNX models, "when to use reduce_range"; oneDNN, int8 computation aspects).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from qcompiler.errors import ConfigurationError

NATIVE, VNNI, AVX2, PORTABLE = "native", "vnni", "avx2", "portable"
CPUS = (PORTABLE, AVX2, VNNI, NATIVE)
"""What a target may be compiled for: any x86 CPU, one without VNNI, one with it, this one."""
_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
_CPUINFO = Path("/proc/cpuinfo")
_X86 = frozenset({"x86_64", "amd64", "i686", "x86"})
_WITHOUT = frozenset({"SSE41", "AVX", "AVX2", "AVX512_CORE"})
"""Values of ONEDNN_MAX_CPU_ISA that leave VNNI out."""


def require_cpu(target: str, cpu: object) -> None:
    """Refuses an option `cpu` that is none.

    Raises:
        ConfigurationError: Another value.
    """
    if cpu not in CPUS:
        raise ConfigurationError(
            f"target '{target}' cannot be compiled for cpu={cpu!r}",
            fix=f"choose one of {', '.join(CPUS)}",
        )


def has_dot_products(cpu: str, *, onednn: bool = False) -> bool:
    """Whether kernels on such a processor add products of 8-bit numbers in 32 bits at once.

    Args:
        cpu: One of `CPUS`.
        onednn: Whether the engine obeys ONEDNN_MAX_CPU_ISA, with which it can be told to do
            without.
    """
    if cpu != NATIVE:
        return cpu == VNNI
    return native_dot_products() and not (onednn and _is_capped(os.environ))


@cache
def native_dot_products() -> bool:
    """The same of this processor. Other families than x86 have no such pair sums (not tested)."""
    if platform.machine().lower() not in _X86:
        return True
    return bool(_native_flags() & _FLAGS)


@cache
def native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 numbers: x86 that Linux says so of."""
    return bool(_native_flags() & _BFLOAT16)


def _native_flags() -> set[str]:
    """None on other systems than Linux: what is right on every x86 is right there."""
    try:
        return _flags(_CPUINFO.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return set()


def _flags(cpuinfo: str) -> set[str]:
    """Of the first processor that Linux lists."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return set()


def _is_capped(environment: Mapping[str, str]) -> bool:
    return environment.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT
