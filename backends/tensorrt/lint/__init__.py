"""The TensorRT lint: executable rules over any ONNX model, with no NVIDIA package."""

from qcompiler.backends.tensorrt.lint.fix import Fix, fix
from qcompiler.backends.tensorrt.lint.run import float_nodes, lint
from qcompiler.backends.tensorrt.lint.table import RULES

__all__ = ["RULES", "Fix", "fix", "float_nodes", "lint"]
