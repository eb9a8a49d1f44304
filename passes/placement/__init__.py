"""Passes that place quantization: precision, scales, Q/DQ, weights and biases."""
