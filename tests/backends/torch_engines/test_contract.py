"""All four torch engines keep what every target has to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

import qcompiler as qc
from qcompiler.backends.fbgemm import Fbgemm
from qcompiler.backends.onednn import Onednn
from qcompiler.backends.qnnpack import Qnnpack
from qcompiler.backends.x86 import X86
from qcompiler.testing.target_contract import TargetContract

Array = npt.NDArray[Any]


class TorchContract(TargetContract):
    __test__ = False

    def load(self, path: Path) -> Callable[[dict[str, Array]], Sequence[Array]]:
        return qc.load_compiled(path).run


class TestFbgemm(TorchContract):
    __test__ = True
    target = Fbgemm(threads=1)


class TestOnednn(TorchContract):
    __test__ = True
    target = Onednn(threads=1)


class TestX86(TorchContract):
    __test__ = True
    target = X86(threads=1)


class TestQnnpack(TorchContract):
    __test__ = True
    target = Qnnpack(threads=1)
