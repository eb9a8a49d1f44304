"""Quantizes one ONNX file with NNCF's defaults; run by the Python of an environment with NNCF.

    python nncf_worker.py MODEL.onnx FEEDS DESTINATION

FEEDS is a folder of .npz files, one per sample. A destination `.xml` goes through OpenVINO, one
`.onnx` stays ONNX. Knows nothing of qcompiler.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """`nncf.quantize` as its documentation calls it, and the file as its engine writes it."""
    import nncf  # type: ignore[import-not-found]
    import numpy as np

    source, folder, destination = map(Path, sys.argv[1:])
    feeds = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]
    data = nncf.Dataset(feeds)
    if destination.suffix == ".onnx":
        import onnx

        quantized = nncf.quantize(onnx.load(source), data, subset_size=len(feeds))
        onnx.save(quantized, destination)
    else:
        import openvino as ov

        quantized = nncf.quantize(ov.Core().read_model(source), data, subset_size=len(feeds))
        ov.save_model(quantized, destination, compress_to_fp16=False)


if __name__ == "__main__":
    main()
