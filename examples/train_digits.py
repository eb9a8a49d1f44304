"""Train the embedded example again: ``python -m examples.train_digits`` (one minute, one core).

Writes digits.pt into examples/digits/, digits.onnx and digits.npz into qcompiler/demo/. The data is
the copy of the UCI handwritten digits that scikit-learn ships (1797 images of 8x8 pixels), so
nothing is downloaded.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from examples.digits.data import (
    DATA_FILE,
    INPUT_NAME,
    ONNX_FILE,
    STATE_FILE,
    Digits,
    Images,
    accuracy,
    preprocess,
)
from examples.digits.model import DigitsNet

SEED = 20
EPOCHS = 24
BATCH = 48
HELDOUT = 360
CALIBRATION = 128


def split_digits() -> tuple[Digits, Images, Images]:
    """The fixed split: the embedded sets, then all training images and labels."""
    bunch: Any = datasets.load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    train_x, held_x, train_y, held_y = train_test_split(
        images, labels, test_size=HELDOUT, random_state=SEED, stratify=labels
    )
    digits = Digits(train_x[:CALIBRATION], train_y[:CALIBRATION], held_x, held_y)
    return digits, train_x, train_y


def shifted(batch: Tensor) -> Tensor:
    """The batch moved by up to three pixels each way: the only augmentation."""
    dy, dx = (int(v) for v in torch.randint(-3, 4, (2,)))
    return torch.roll(batch, (dy, dx), dims=(-2, -1))


def train(images: Images, labels: Images) -> DigitsNet:
    """A trained network whose parameters and statistics are exact in float16."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    module = DigitsNet().train()
    inputs = torch.from_numpy(preprocess(images))
    targets = torch.from_numpy(labels.astype(np.int64))
    steps = EPOCHS * -(-len(inputs) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.split(torch.randperm(len(inputs)), BATCH):
            optimizer.zero_grad()
            loss = loss_of(module(shifted(inputs[rows])), targets[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        print(f"epoch {epoch + 1:2d}/{EPOCHS}: loss {total / len(inputs):.4f}")
    module.load_state_dict(half_state(module))
    return module.eval()


def half_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict with every floating tensor as float16, which halves the file."""
    state = module.state_dict()
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def export(module: nn.Module) -> onnx.ModelProto:
    """The module as ONNX with a dynamic batch and without the exporter's stack traces."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.onnx.export(
        module,
        (torch.zeros(2, 1, 32, 32),),
        dynamo=True,
        input_names=[INPUT_NAME],
        output_names=["logits"],
        dynamic_shapes=({0: batch},),
    )
    assert program is not None
    proto = program.model_proto
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info):
        # They name the folders of the machine that trained the network.
        del holder.metadata_props[:]
        holder.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        del value.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    return proto


def write(path: Path, payload: bytes) -> None:
    """Write a file under another name first, so that it is whole or not there."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(payload)
    partial.replace(path)
    print(f"{path.name}: {len(payload) / 1000:.1f} kB")


def main() -> None:
    """Train, export and write the three files."""
    digits, images, labels = split_digits()
    module = train(images, labels)
    inputs, expected = digits.heldout()
    with torch.no_grad():
        logits = module(torch.from_numpy(inputs)).numpy()
    print(f"held-out accuracy: {accuracy(logits, expected):.4f}")
    state, arrays = io.BytesIO(), io.BytesIO()
    torch.save(half_state(module), state)
    np.savez_compressed(arrays, **vars(digits))
    write(STATE_FILE, state.getvalue())
    write(DATA_FILE, arrays.getvalue())
    write(ONNX_FILE, export(module).SerializeToString())


if __name__ == "__main__":
    main()
