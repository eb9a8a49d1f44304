"""TensorRT: placement, lint, and the gate of NVIDIA's own parser and builder."""
