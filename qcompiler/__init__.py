"""A quantizing graph compiler: trained network in, fast and checked integer program out.

```python
import qcompiler as qc

compiled = qc.compile(model, target="onnxruntime", calibration=feeds)
compiled(feed)
compiled.save("out.onnx")
print(compiled.report.text())
```
"""

import os

# ONNX Runtime writes files of telemetry, and looks for its server, as soon as it is imported.
# Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The package is loaded first: a first import later on would put it over the function `passes`.
import qcompiler.passes as _passes_package  # noqa: F401
from qcompiler import errors
from qcompiler.compare import compare
from qcompiler.compile import compile  # noqa: A004 - the public name
from qcompiler.compiled import Compiled, load_compiled
from qcompiler.config import Scheme
from qcompiler.frontends import load
from qcompiler.ir.plan import Plan
from qcompiler.ir.program import Program
from qcompiler.lint import lint
from qcompiler.pipeline.contract import Pass
from qcompiler.pipeline.pipeline import Pipeline
from qcompiler.pipeline.registry import passes, targets
from qcompiler.quantization.nonuniform import QTensor, quantize
from qcompiler.target.contract import Target

__all__ = [
    "Compiled",
    "Pass",
    "Pipeline",
    "Plan",
    "Program",
    "QTensor",
    "Scheme",
    "Target",
    "compare",
    "compile",
    "errors",
    "lint",
    "load",
    "load_compiled",
    "passes",
    "quantize",
    "targets",
]
