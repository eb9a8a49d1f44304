"""`.npy` files and images as calibration data: what a feed holds, in which order and layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from qcompiler.calibration.feed_files import FeedFiles
from qcompiler.calibration.images import Preprocessing
from qcompiler.errors import CalibrationError, ConfigurationError, QCompilerError
from qcompiler.ir.signature import TensorSpec

X = np.arange(5 * 3 * 4 * 6, dtype=np.float32).reshape(5, 3, 4, 6)
NCHW = (TensorSpec("x", ir.DataType.FLOAT, ("n", 3, 4, 6)),)
NHWC = (TensorSpec("x", ir.DataType.FLOAT, ("n", 4, 6, 3)),)
BYTES = (TensorSpec("x", ir.DataType.UINT8, ("n", 4, 6, 3)),)
TWO = (*NCHW, TensorSpec("mask", ir.DataType.FLOAT, ("n", 6)))


def _together(feeds: FeedFiles, name: str = "x") -> npt.NDArray[Any]:
    return np.concatenate([feed[name] for feed in feeds])


@pytest.mark.parametrize("batch", [1, 2, 5, 9])
def test_an_npy_is_cut_along_its_first_axis(tmp_path: Path, batch: int) -> None:
    np.save(tmp_path / "a.npy", X)
    feeds = FeedFiles(tmp_path / "a.npy", batch, NCHW)
    assert len(feeds) == len(list(feeds)) == -(-5 // batch)
    np.testing.assert_array_equal(_together(feeds), X)
    np.testing.assert_array_equal(feeds[-1]["x"], list(feeds)[-1]["x"])


def test_an_npy_without_the_axis_is_one_sample(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X[0])
    (feed,) = FeedFiles(tmp_path / "a.npy", 4, NCHW)
    np.testing.assert_array_equal(feed["x"], X[:1])


def test_folders_of_npy_hold_samples_or_feeds(tmp_path: Path) -> None:
    for kind in ("samples", "feeds"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / ".hidden.npy").write_bytes(b"")
        (tmp_path / kind / "labels.txt").write_text("7")
    for number, sample in enumerate(X):
        np.save(tmp_path / "samples" / f"{number}.npy", sample)
        np.save(tmp_path / "feeds" / f"{number}.npy", np.stack([sample, sample]))
    samples = FeedFiles(tmp_path / "samples", 2, NCHW)
    assert [len(feed["x"]) for feed in samples] == [2, 2, 1]
    np.testing.assert_array_equal(_together(samples), X)
    feeds = FeedFiles(tmp_path / "feeds", 2, NCHW)
    np.testing.assert_array_equal(_together(feeds), np.repeat(X, 2, 0))


def test_without_known_inputs_arrays_have_no_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    np.testing.assert_array_equal(np.concatenate(list(FeedFiles(tmp_path / "a.npy", 2))), X)


def test_files_follow_one_another(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X[:3])
    np.savez(tmp_path / "b.npz", x=X[3:])
    feeds = FeedFiles((tmp_path / "a.npy", tmp_path / "b.npz"), 2, NCHW)
    assert len(feeds) == 3
    np.testing.assert_array_equal(_together(feeds), X)
    for index in range(-3, 3):
        np.testing.assert_array_equal(feeds[index]["x"], list(feeds)[index]["x"])
    assert [each.name for each in feeds.files] == ["a.npy", "b.npz"]


@pytest.mark.parametrize("batch", [1, 2])
def test_arrays_by_position(tmp_path: Path, batch: int) -> None:
    mask = np.ones((5, 6), np.float32)
    np.savez(tmp_path / "a.npz", X, mask)
    feeds = FeedFiles(tmp_path / "a.npz", batch, TWO)
    np.testing.assert_array_equal(_together(feeds), X)
    np.testing.assert_array_equal(_together(feeds, "mask"), mask)
    assert feeds.renamed == {}


def test_the_only_array_is_the_only_input(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "a.npz", tmp_path / "folder" / "a.npz"):
        np.savez(path, picture=X)
        feeds = FeedFiles(path if path.parent == tmp_path else path.parent, 5, NCHW)
        np.testing.assert_array_equal(_together(feeds), X)
        assert feeds.renamed == {"picture": "x"}


def test_names_that_are_right_stay(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", arr_0=X)
    (spec,) = NCHW
    named = TensorSpec("arr_0", spec.dtype, spec.shape)
    assert list(FeedFiles(tmp_path / "a.npz", 5, (named,))[0]) == ["arr_0"]
    assert list(FeedFiles(tmp_path / "a.npz", 5)[0]) == ["arr_0"]
    np.savez(tmp_path / "b.npz", y=X, z=X)
    assert list(FeedFiles(tmp_path / "b.npz", 5, NCHW)[0]) == ["y", "z"]


class TestImages:
    @pytest.fixture
    def pixels(self, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        return rng.integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)

    @pytest.fixture
    def folder(self, tmp_path: Path, pixels: npt.NDArray[np.uint8]) -> Path:
        image = pytest.importorskip("PIL.Image")
        for number, each in enumerate(pixels):  # in subfolders, as ImageNet's
            (tmp_path / f"class{number}").mkdir()
            image.fromarray(each).save(tmp_path / f"class{number}" / "1.PNG")
        (tmp_path / "README.md").write_text("not an image")
        return tmp_path

    def test_layouts_and_scales(self, folder: Path, pixels: npt.NDArray[np.uint8]) -> None:
        plain = pixels.astype(np.float32) * np.float32(1 / 255)
        np.testing.assert_array_equal(_together(FeedFiles(folder, 2, NHWC)), plain)
        first = _together(FeedFiles(folder, 2, NCHW))
        np.testing.assert_array_equal(first, plain.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(_together(FeedFiles(folder, 3, BYTES)), pixels)
        mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
        normalized = FeedFiles(folder, 1, NHWC, Preprocessing(mean=mean, std=std))
        # One rounding for each of two operations, of values up to 5.
        np.testing.assert_allclose(
            _together(normalized), (plain.astype(np.float64) - mean) / std, atol=4e-6
        )
        raw = FeedFiles(folder, 1, NHWC, Preprocessing(scale=1.0, mean=(127.5,)))
        np.testing.assert_array_equal(_together(raw), pixels.astype(np.float32) - 127.5)

    def test_channels_come_in_the_order_that_is_asked_for(
        self, folder: Path, pixels: npt.NDArray[np.uint8]
    ) -> None:
        """As OpenCV reads them; mean and std are those of the channels that the model gets."""
        steps = Preprocessing(order="bgr", scale=1.0, mean=(1.0, 2.0, 3.0))
        blue_first = pixels[..., [2, 1, 0]].astype(np.float32) - np.asarray([1, 2, 3], np.float32)
        np.testing.assert_array_equal(_together(FeedFiles(folder, 2, NHWC, steps)), blue_first)
        first = _together(FeedFiles(folder, 2, NCHW, steps))
        np.testing.assert_array_equal(first, blue_first.transpose(0, 3, 1, 2))

    def test_sizes(self, folder: Path) -> None:
        open_sizes = (TensorSpec("x", ir.DataType.FLOAT, (None, 3, "h", "w")),)
        assert FeedFiles(folder, 1, open_sizes)[0]["x"].shape == (1, 3, 4, 6)
        asked = FeedFiles(folder, 3, open_sizes, Preprocessing(size=(8, 5)))
        assert asked[0]["x"].shape == (3, 3, 8, 5)
        gray = (TensorSpec("x", ir.DataType.FLOAT16, (None, 1, 2, 2)),)
        found = FeedFiles(folder, 1, gray)[0]["x"]
        assert (found.shape, found.dtype) == ((1, 1, 2, 2), np.float16)

    def test_a_torch_module_takes_rgb_channels_first(self, folder: Path) -> None:
        assert FeedFiles(folder, 3)[0].shape == (3, 3, 4, 6)
        assert FeedFiles(folder, 3, (), Preprocessing(layout="nhwc"))[0].shape == (3, 4, 6, 3)

    def test_a_damaged_image_is_named(self, folder: Path) -> None:
        (folder / "class1" / "1.PNG").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
        with pytest.raises(CalibrationError, match=r"class1/1\.PNG"):
            list(FeedFiles(folder, 1, NHWC))

    def test_unequal_sizes_in_a_feed(self, folder: Path) -> None:
        image = pytest.importorskip("PIL.Image")
        image.new("RGB", (9, 9)).save(folder / "class1" / "1.PNG")
        open_sizes = (TensorSpec("x", ir.DataType.FLOAT, (None, 3, None, None)),)
        assert len(list(FeedFiles(folder, 1, open_sizes))) == 3
        with pytest.raises(CalibrationError, match="--size"):
            list(FeedFiles(folder, 2, open_sizes))

    def test_pillow_is_named_where_it_is_missing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "PIL", None)
        monkeypatch.setitem(sys.modules, "PIL.Image", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'qcompiler\[images\]'"):
            FeedFiles(folder, 1, NHWC)


def _spec(*shape: int | str, dtype: ir.DataType = ir.DataType.FLOAT) -> tuple[TensorSpec, ...]:
    return (TensorSpec("x", dtype, shape),)


@pytest.mark.parametrize(
    ("inputs", "asked", "words"),
    [
        (_spec("n", 10), {}, "takes no images"),
        (_spec("n", 7, 8, 9), {}, "neither axis"),
        (_spec("n", 3, 8, 3), {}, "both axes"),
        (_spec("n", 3, 8, 8), {"layout": "nhwc"}, "neither axis"),
        (BYTES, {"mean": (0.5,)}, "inputs of floats"),
        (TWO, {}, "2 inputs"),
    ],
)
def test_inputs_that_take_no_images(
    inputs: tuple[TensorSpec, ...], asked: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("PIL.Image").new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(QCompilerError, match=words):
        FeedFiles(tmp_path, 1, inputs, Preprocessing(**asked))


@pytest.mark.parametrize(
    "wrong", [{"layout": "hwc"}, {"size": (0, 4)}, {"size": (1 << 20, 1 << 20)}, {"std": (0.0,)},
              {"mean": (1.0, 2.0)}, {"order": "brg"}],
)  # fmt: skip
def test_wrong_steps(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Preprocessing(**wrong)


def test_what_is_for_images_is_refused_for_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(ConfigurationError, match="are for images"):
        FeedFiles(tmp_path / "a.npy", 1, NCHW, Preprocessing(size=(4, 4)))


def test_two_kinds_in_a_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", x=X)
    with pytest.raises(CalibrationError, match=r"1 \.npz, 1 \.npy"):
        FeedFiles(tmp_path, 1, NCHW)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text", b"cut"])
def test_a_damaged_npy(tmp_path: Path, content: bytes) -> None:
    np.save(tmp_path / "a.npy", X)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-7] if content == b"cut" else content)
    with pytest.raises(CalibrationError, match=r"cannot read .*a\.npy"):
        FeedFiles(tmp_path / "a.npy", 1, NCHW)
    with pytest.raises(CalibrationError, match=r"cannot read .*a\.npy"):
        FeedFiles(tmp_path, 1, NCHW)


def test_an_error_of_the_reader_is_not_the_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", x=X)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        feeds = iter(FeedFiles(path, 1, NCHW))
        next(feeds)
        with pytest.raises(ZeroDivisionError):
            feeds.throw(ZeroDivisionError())  # type: ignore[attr-defined]
