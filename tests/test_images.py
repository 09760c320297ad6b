"""Photographs as tensors."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from explainsvc.errors import InvalidInput
from explainsvc.images import Preprocessing, Resize, is_image, preprocess

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def png(pixels: np.ndarray, **save: object) -> bytes:
    """The pixels as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **save)
    return buffer.getvalue()


def test_torchvision_preprocessing() -> None:
    """scale=1/255 with mean and std is torchvision's ToTensor and Normalize."""
    transforms = pytest.importorskip("torchvision.transforms")
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    truth = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])(Image.fromarray(RGB))
    ours = preprocess(png(RGB), (1, 3, 6, 8), how=Preprocessing(1 / 255, mean, std)).tensor
    np.testing.assert_allclose(ours[0], truth.numpy(), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(41, 67), (67, 41), (40, 40)])
def test_torchvision_resizing(height: int, width: int) -> None:
    """shorter and size are torchvision's Resize and CenterCrop, stretch its Resize to a size, pixel for pixel."""
    transforms = pytest.importorskip("torchvision.transforms")
    pixels = np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    truth = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(24)])(image)
    np.testing.assert_array_equal(preprocess(png(pixels), (1, 3, 24, 24), how=Preprocessing(shorter=32)).rgb, truth)
    stretched = preprocess(png(pixels), (1, 3, 24, 20), how=Preprocessing(resize="stretch")).rgb
    np.testing.assert_array_equal(stretched, transforms.Resize((24, 20))(image))


def test_padding_keeps_the_whole_picture() -> None:
    """With pad a wide picture lies between black bars, all of it."""
    wide = np.full((4, 8, 3), 255, np.uint8)
    found = preprocess(png(wide), (1, 3, 8, 8), how=Preprocessing(resize="pad")).rgb
    np.testing.assert_array_equal(found[..., 0], np.repeat([0, 255, 0], [2, 4, 2])[:, None] * np.ones((1, 8), np.uint8))


@pytest.mark.parametrize("resize", ["cover", "stretch", "pad"])
def test_a_line_of_pixels(resize: Resize) -> None:
    """The narrowest of pictures is brought to the size of the input, or refused in words."""
    for pixels in (np.zeros((1, 5000, 3), np.uint8), np.zeros((5000, 1, 3), np.uint8)):
        if resize == "pad":
            with pytest.raises(InvalidInput, match="too narrow"):
                preprocess(png(pixels), (1, 3, 24, 24), how=Preprocessing(resize=resize))
        else:
            assert preprocess(png(pixels), (1, 3, 24, 24), how=Preprocessing(resize=resize)).tensor.shape == (1, 3, 24, 24)


def test_caffe_preprocessing() -> None:
    """scale=1, bgr and a mean per channel is blue, green, red minus 104, 117, 123."""
    ours = preprocess(png(RGB), (1, 3, 6, 8), how=Preprocessing(1.0, (104, 117, 123), bgr=True)).tensor
    truth = (RGB[:, :, ::-1].astype(np.float32) - [104, 117, 123]).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(ours, truth.astype(np.float32))


def test_picture_lies_under_tensor() -> None:
    """The displayed picture is the tensor's own crop, also after resizing and in BGR."""
    picture = preprocess(png(RGB), (None, 3, 4, 4), how=Preprocessing(1.0, bgr=True))
    assert picture.rgb.shape == (4, 4, 3)
    np.testing.assert_array_equal(picture.tensor[0, ::-1].transpose(1, 2, 0), picture.rgb)


def test_crop_is_central_and_keeps_the_aspect() -> None:
    """A wide image loses its left and right ends, not its proportions."""
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255
    assert (preprocess(png(wide), (1, 3, 4, 4)).rgb == 255).all()


@pytest.mark.parametrize(
    ("shape", "layout", "tensor"),
    [
        ((1, 3, 6, 8), "nchw", (1, 3, 6, 8)),
        (("N", 6, 8, 3), "nhwc", (1, 6, 8, 3)),
        ((1, 1, 6, 8), "nchw", (1, 1, 6, 8)),
        ((None, 6, 8, 1), "nhwc", (1, 6, 8, 1)),
        ((None, None, None, 3), "nhwc", (1, 6, 8, 3)),
        ((None, 3, "h", "w"), "nchw", (1, 3, 6, 8)),
        ((None, None, None, None), "nchw", (1, 3, 6, 8)),
    ],
)
def test_layout_from_shape(shape: tuple[int | str | None, ...], layout: str, tensor: tuple[int, ...]) -> None:
    """The axis of length 1 or 3 holds the channels; open sizes take the image's own."""
    picture = preprocess(png(RGB), shape)
    assert (picture.layout, picture.tensor.shape) == (layout, tensor)


def test_options_fill_open_axes() -> None:
    """Size and channels count where the model leaves them open."""
    how = Preprocessing(channels=1, size=(2, 4))
    assert preprocess(png(RGB), (None, None, None, None), how=how).tensor.shape == (1, 1, 2, 4)


def test_integer_input_gets_pixels() -> None:
    """A uint8 input is filled with 0…255, unscaled."""
    picture = preprocess(png(RGB), (1, 6, 8, 3), "uint8")
    assert picture.tensor.dtype == np.uint8
    np.testing.assert_array_equal(picture.tensor[0], RGB)


def test_camera_orientation_is_applied() -> None:
    """A photograph with an EXIF rotation is turned upright before it is cropped."""
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 degrees clockwise to show"
    np.testing.assert_array_equal(preprocess(png(RGB, exif=exif), (1, 3, 8, 6)).rgb, np.rot90(RGB, -1))


@pytest.mark.parametrize(
    ("source", "shape", "how", "words"),
    [
        (b"no image", (1, 3, 6, 8), Preprocessing(), "not an image"),
        (png(RGB)[:120], (1, 3, 6, 8), Preprocessing(), "cannot be read"),
        ("/does/not/exist.png", (1, 3, 6, 8), Preprocessing(), "no such file"),
        (png(RGB), (1, 784), Preprocessing(), r"does not fit an input of shape \[1, 784\]"),
        (png(RGB), (1, 64, 6, 8), Preprocessing(), "does not fit"),
        (png(RGB), (1, 4, 6, 8), Preprocessing(layout="nchw"), "has 4 channels"),
        (png(RGB), (1, 3, 6, 8), Preprocessing(channels=1), "has 3 channels"),
        (png(RGB), (1, 3, 6, 8), Preprocessing(mean=(1.0, 2.0)), "2 values for 3 channels"),
        (png(RGB), (1, 3, 6, 8), Preprocessing(std=(0.0,)), "zero"),
    ],
)
def test_refusals(source: bytes | str, shape: tuple[int, ...], how: Preprocessing, words: str) -> None:
    """What cannot become the tensor is an InvalidInput that says why."""
    with pytest.raises(InvalidInput, match=words):
        preprocess(source, shape, how=how)


def test_suffixes() -> None:
    """Images are told from arrays by the file's suffix, in either case."""
    assert is_image("a/B.JPG")
    assert not is_image("a.npz")
