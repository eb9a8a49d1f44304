"""A quantizing graph compiler: trained network in, fast and checked integer program out.

```python
import qcompiler as qc

compiled = qc.compile(model, target="onnxruntime", calibration=feeds)
compiled(feed)
compiled.save("out.onnx")
print(compiled.report.text())
```

Public names are loaded on first use, so that `import qcompiler` costs next to nothing.
"""

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

# ONNX Runtime writes files of telemetry, and looks for its server, as soon as it is imported.
# Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from qcompiler import errors
    from qcompiler.artifacts import load_compiled
    from qcompiler.compare import compare
    from qcompiler.compile import compile  # noqa: A004 - the public name
    from qcompiler.compiled import Compiled
    from qcompiler.config_file import read_config
    from qcompiler.decisions.overrides import Override
    from qcompiler.decisions.schemes import Scheme
    from qcompiler.distill import distill
    from qcompiler.frontends import load
    from qcompiler.ir.plan import Plan
    from qcompiler.ir.program import Program
    from qcompiler.lint import lint
    from qcompiler.pipeline.contract import Pass
    from qcompiler.pipeline.pipeline import Pipeline
    from qcompiler.pipeline.registry import passes, targets
    from qcompiler.points import DeQuantStub, FloatModule, QuantStub, keep_float
    from qcompiler.qat import prepare_qat
    from qcompiler.qtensor.arithmetic import cat
    from qcompiler.qtensor.plots import plot_quantization
    from qcompiler.qtensor.quantizing import quantize
    from qcompiler.qtensor.tensor import QTensor
    from qcompiler.qtensor.tensorflow import tf_dequantize, tf_quantize
    from qcompiler.target.contract import Target
    from qcompiler.why import why

    __version__: str

__all__ = [
    "Compiled",
    "DeQuantStub",
    "FloatModule",
    "Override",
    "Pass",
    "Pipeline",
    "Plan",
    "Program",
    "QTensor",
    "QuantStub",
    "Scheme",
    "Target",
    "__version__",
    "cat",
    "compare",
    "compile",
    "distill",
    "errors",
    "keep_float",
    "lint",
    "load",
    "load_compiled",
    "passes",
    "plot_quantization",
    "prepare_qat",
    "quantize",
    "read_config",
    "targets",
    "tf_dequantize",
    "tf_quantize",
    "why",
]

_HOMES = {
    "Compiled": "compiled",
    "DeQuantStub": "points",
    "FloatModule": "points",
    "QuantStub": "points",
    "distill": "distill",
    "keep_float": "points",
    "Override": "decisions.overrides",
    "Pass": "pipeline.contract",
    "Pipeline": "pipeline.pipeline",
    "Plan": "ir.plan",
    "Program": "ir.program",
    "QTensor": "qtensor.tensor",
    "Scheme": "decisions.schemes",
    "Target": "target.contract",
    "cat": "qtensor.arithmetic",
    "compare": "compare",
    "compile": "compile",
    "lint": "lint",
    "load": "frontends",
    "load_compiled": "artifacts",
    "passes": "pipeline.registry",
    "plot_quantization": "qtensor.plots",
    "prepare_qat": "qat",
    "quantize": "qtensor.quantizing",
    "read_config": "config_file",
    "targets": "pipeline.registry",
    "tf_dequantize": "qtensor.tensorflow",
    "tf_quantize": "qtensor.tensorflow",
    "why": "why",
}
"""The module under `qcompiler` that each public name is loaded from."""


class _Package(ModuleType):
    """The package: what is public is what its name says, also where a module has the same name.

    The import system sets `qcompiler.compile` to the module of that name as soon as that is loaded.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> Any:
        if name == "errors":
            return importlib.import_module(f"{__name__}.errors")
        if name == "__version__":
            found = importlib.import_module(f"{__name__}.version").own_version()
        elif name in _HOMES:
            found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
