"""What a target may rely on of a processor, as /proc/cpuinfo and the environment tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qcompiler.errors import ConfigurationError
from qcompiler.pipeline.targets import target_of
from qcompiler.target import processor

TOLD = "processor\t: 0\nflags\t\t: fpu sse2 {} avx2\nbugs\t\t:\n"


@pytest.fixture(autouse=True)
def fresh() -> None:
    processor.native_dot_products.cache_clear()


def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, flags: str | None) -> bool:
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(TOLD.format(flags), encoding="ascii")
    monkeypatch.setattr(processor, "_CPUINFO", path)
    monkeypatch.setattr("platform.machine", lambda: kind)
    processor.native_dot_products.cache_clear()
    found = processor.native_dot_products()
    processor.native_dot_products.cache_clear()
    return found


@pytest.mark.parametrize(
    ("kind", "flags", "wanted"),
    [
        ("x86_64", "avx512_vnni", True),
        ("AMD64", "avx_vnni", True),
        ("x86_64", "amx_int8", True),
        ("x86_64", "avx512f", False),
        ("x86_64", None, False),  # nothing tells: what is right everywhere
        ("aarch64", None, True),
    ],
)
def test_native(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, flags: str | None, wanted: bool
) -> None:
    assert machine(monkeypatch, tmp_path, kind, flags) == wanted


def test_what_is_asked_for_stands_above_the_machine() -> None:
    assert processor.has_dot_products("vnni")
    assert not processor.has_dot_products("avx2")
    assert not processor.has_dot_products("portable")


def test_only_onednn_obeys_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "native_dot_products", lambda: True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert processor.has_dot_products("native")
    assert not processor.has_dot_products("native", onednn=True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
    assert processor.has_dot_products("native", onednn=True)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "fbgemm", "cpu"])
def test_every_cpu_engine_takes_the_option(name: str) -> None:
    for cpu in processor.CPUS:
        assert getattr(target_of(f"{name}{{cpu={cpu}}}", several=True), "cpu") == cpu  # noqa: B009
    with pytest.raises(ConfigurationError, match="cannot be compiled for cpu='sse9'"):
        target_of(f"{name}{{cpu=sse9}}", several=True)
