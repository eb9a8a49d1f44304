"""Operators of ONNX Runtime's own domains, spelt in standard ones.

Files that ONNX Runtime saved (`SessionOptions.optimized_model_filepath`) and those of its
transformer tools hold them. Each module has one table: operator -> how it is spelt.
"""
