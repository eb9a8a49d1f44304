"""Quantization-aware training: programs as torch modules that learn weights, steps and offsets."""
