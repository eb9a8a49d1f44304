"""The embedded files belong together: torch and ONNX form, images, labels, training script."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from examples.digits.data import DATA_FILE, ONNX_FILE, STATE_FILE, Digits, accuracy

LIMIT_BYTES = 300_000


def onnx_logits(path: Path, digits: Digits) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path))
    inputs, _ = digits.heldout()
    return np.asarray(session.run(None, {"image": inputs})[0])


def test_both_forms_give_the_same_logits(digits: Digits, digits_module: torch.nn.Module) -> None:
    inputs, _ = digits.heldout()
    with torch.no_grad():
        expected = digits_module(torch.from_numpy(inputs)).numpy()
    # Sums of up to 288 float32 terms in another order: about sqrt(288) * 2^-24 = 1e-6 per layer.
    np.testing.assert_allclose(onnx_logits(ONNX_FILE, digits), expected, rtol=1e-5, atol=1e-5)


def test_heldout_accuracy(digits: Digits) -> None:
    _, labels = digits.heldout()
    assert accuracy(onnx_logits(ONNX_FILE, digits), labels) >= 0.97


def test_accuracy_falls_to_chance_for_wrong_labels(digits: Digits) -> None:
    _, labels = digits.heldout()
    assert accuracy(onnx_logits(ONNX_FILE, digits), (labels + 1) % 10) < 0.05


def test_the_network_has_what_the_demo_promises(digits_onnx: onnx.ModelProto) -> None:
    nodes = digits_onnx.graph.node
    kinds = [node.op_type for node in nodes]
    groups = [a.i for n in nodes if n.op_type == "Conv" for a in n.attribute if a.name == "group"]
    assert {"Conv", "Clip", "Relu", "Concat", "MaxPool", "Gemm"} <= set(kinds)
    assert kinds.count("Add") == 2
    assert sum(group > 1 for group in groups) == 2


def test_batch_is_symbolic(digits_onnx: onnx.ModelProto) -> None:
    assert digits_onnx.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_calibration_images_are_not_held_out(digits: Digits) -> None:
    held = {image.tobytes() for image in digits.heldout_images}
    assert not any(image.tobytes() in held for image in digits.calibration_images)


def test_images_are_scikit_learns(digits: Digits) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    known = {image.astype(np.uint8).tobytes() for image in datasets.load_digits().images}
    assert all(image.tobytes() in known for image in digits.heldout_images)


def test_files_are_small() -> None:
    assert STATE_FILE.stat().st_size + ONNX_FILE.stat().st_size < LIMIT_BYTES
    assert DATA_FILE.stat().st_size < LIMIT_BYTES / 2


@pytest.mark.parametrize("path", [ONNX_FILE, STATE_FILE], ids=lambda p: p.suffix)
def test_files_name_no_machine_path(path: Path) -> None:
    found = re.findall(rb"/(?:home|root|tmp|work|usr|Users)/[\w./-]+", path.read_bytes())
    assert not found
