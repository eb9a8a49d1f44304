"""Quantized tensors to compute with: what a network's layers do, one number at a time."""
