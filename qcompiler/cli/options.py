"""Options of the command line that are long to write or that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

Model = Annotated[
    str,
    typer.Argument(
        help="An ONNX file, an exported program (.pt2), or module:function that returns a model.",
        show_default=False,
    ),
]
OnnxFile = Annotated[Path, typer.Argument(help="An ONNX file.", show_default=False)]
TargetName = Annotated[
    str, typer.Option("--target", "-t", help="Name of a target, or name{option=value}.")
]
AnyTarget = Annotated[
    str | None,
    typer.Option("--target", "-t", help="Name of a target, or name{option=value}; all by default."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--calibration",
        "-c",
        "--data",
        "-d",
        help="An .npz or .npy file, an image, a folder of one kind of them, or module:function "
        "that returns feeds; files and folders may be repeated.",
    ),
]
CompareData = Annotated[
    list[str] | None,
    typer.Option("--data", "-d", "--calibration", "-c", help="As --calibration of compile."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        help="Of an input that is made up: NAME=1x3x320x320, or without a name where there is "
        "one; may be repeated.",
    ),
]
Batch = Annotated[int, typer.Option(help="Samples in one feed.")]


class Images(NamedTuple):
    """How images are read, as it is written; a group, see `grouped`."""

    size: Annotated[
        str | None, typer.Option(help="Of images: 224, or height and width as 224x320.")
    ] = None
    layout: Annotated[
        str | None, typer.Option(help="Of images: nchw or nhwc; by default what the input says.")
    ] = None
    mean: Annotated[
        str | None, typer.Option(help="Of images, taken off scaled pixels: 0.485,0.456,0.406.")
    ] = None
    std: Annotated[str | None, typer.Option(help="Of images, divided by: 0.229,0.224,0.225.")] = (
        None
    )
    scale: Annotated[
        float | None, typer.Option(help="Of images, times pixels from 0 to 255; 1/255 by default.")
    ] = None
    order: Annotated[
        str, typer.Option(help="Of the channels of images: rgb or bgr, as OpenCV reads them.")
    ] = "rgb"


AS_THEY_ARE = Images()
Scheme = Annotated[str, typer.Option(help="auto, int8, dynamic, ...")]
Recipe = Annotated[str, typer.Option(help="fast, balanced or best.")]
Overrides = Annotated[list[str] | None, typer.Option(help="PATTERN=PRECISION; may be repeated.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="A quantization.toml; options written beside it win."),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        help="VALUE=LOW:HIGH in the place of what calibration saw; a name or glob of values, "
        "nodes or modules, or op:OpType; may be repeated.",
    ),
]
Dynamic = Annotated[
    bool | None,
    typer.Option(
        "--dynamic/--fixed",
        help="All batch sizes, or only that of the data; for torch models. Found out by default.",
        show_default=False,
    ),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(help="Accuracy pass to try instead of the recipe's; 'none', or repeated."),
]
Evaluate = Annotated[
    str | None,
    typer.Option(help="module:function that scores `run`, higher is better, see qc.compile."),
]
Loss = Annotated[
    list[str] | None,
    typer.Option(
        help="What outputs are for: top1, top5, sigmoid, cosine, sqnr, agreement or "
        "module:function; NAME=LOSS for one output, may be repeated. Found out by default.",
        show_default=False,
    ),
]
