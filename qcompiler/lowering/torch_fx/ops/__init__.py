"""ONNX operators as torch functions: one row per operator in `table.TABLE`.

Every function takes the ONNX operands by position (None for an omitted one) and the ONNX
attributes as keywords, and returns a tensor, or a tuple for operators with several outputs. The
text of each is the operator's page in the ONNX specification (opset 21 unless said otherwise).
"""
