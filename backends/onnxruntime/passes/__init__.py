"""Placement passes for kernels that only ONNX Runtime has."""
