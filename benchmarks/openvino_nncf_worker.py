"""Quantizes one ONNX file with NNCF's defaults; run by the Python of an environment with NNCF.

    python openvino_nncf_worker.py MODEL.onnx FEEDS DESTINATION.xml

FEEDS is a folder of .npz files, one per sample. Knows nothing of qcompiler.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """`nncf.quantize` as its documentation calls it, and the file as OpenVINO writes it."""
    import nncf  # type: ignore[import-not-found]
    import numpy as np
    import openvino as ov

    source, folder, destination = map(Path, sys.argv[1:])
    feeds = [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]
    quantized = nncf.quantize(
        ov.Core().read_model(source), nncf.Dataset(feeds), subset_size=len(feeds)
    )
    ov.save_model(quantized, destination, compress_to_fp16=False)


if __name__ == "__main__":
    main()
