"""ONNX Runtime (CPU execution provider): u8 activations, s8 weights, Q behind the activation."""
