"""Which pictures an explanation becomes, against the inputs and values that went in."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import explainsvc
from explainsvc.arguments import UsageError
from explainsvc.drawings import Answers, Given, Wishes
from explainsvc.errors import ExplainsvcError, InvalidInput
from tests import models
from tests.models import Array
from tests.test_corpus import GOOD, case, folders


def answers(
    proto: onnx.ModelProto, feeds: dict[str, Array], *methods: str, inputs: list[str] | None = None, **given: Any
) -> Answers:
    """The attributions of these methods, as the command line has them."""
    model = explainsvc.load(proto)
    found = [model.explain(feeds, method, given.get("target", 1), inputs=inputs) for method in methods]
    wishes = Wishes(given.get("kind"), given.get("tokens"), given.get("names"))
    return Answers(found, Given(feeds, {name: list(values) for name, values in feeds.items()}, given.get("layout")), wishes)


def volume_net() -> onnx.ModelProto:
    """x [N, 1, 4, 6, 6] → Conv over three axes → mean → y [N, 3]."""
    graph = """g (float[N, 1, 4, 6, 6] x) => (float[N, 3] y) {
      c = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w1)  r = Relu (c)  p = GlobalAveragePool (r)  f = Flatten (p)  y = Gemm (f, w2)
    }"""
    return models.build(graph, {"w1": models.weights("w1", 4, 1, 3, 3, 3), "w2": models.weights("w2", 4, 3)})


def test_columns_of_all_tables_are_one_picture() -> None:
    """Two inputs [N, 3] and [N, 2] are five bars an item, named by input and index, with the item's own values."""
    feeds = {"a": models.numbers(2, 3), "b": models.numbers(2, 2, seed=1)}
    asked = answers(models.two_by_two(), feeds, "gradient", "input_x_gradient", target={"output": "p", "index": 1})
    drawings = asked.drawings()
    assert [one.label for one in drawings] == ["0", "1"]
    assert [one.kind for one in drawings] == ["bars", "bars"]
    assert list(drawings[0].names or ()) == ["a[0]", "a[1]", "a[2]", "b[0]", "b[1]"]
    for item, drawing in enumerate(drawings):
        for one in asked.attributions:
            expected = np.concatenate([one.values["a"][item], one.values["b"][item]])
            np.testing.assert_array_equal(drawing.maps[one.method], expected)
        assert drawing.x is not None
        np.testing.assert_array_equal(drawing.x.astype(np.float32), np.concatenate([feeds["a"][item], feeds["b"][item]]))
        assert drawing.png().startswith(b"\x89PNG")


def test_what_all_items_share_is_drawn_once() -> None:
    """A factor [1] of three items has one picture of its own, called "all"."""
    feeds = {"x": models.numbers(3, 3), "k": models.numbers(1)}
    drawings = answers(models.scaled(), feeds, "gradient").drawings()
    assert [one.label for one in drawings] == ["x-0", "x-1", "x-2", "k-all"]
    assert list(drawings[-1].names or ()) == ["k"]
    assert all(one.png() for one in drawings)


def test_a_model_without_batch_is_one_item() -> None:
    """x [5] is five columns of one table, not five items."""
    (drawing,) = answers(models.without_batch(), {"x": models.numbers(5)}, "gradient").drawings()
    assert (drawing.kind, list(drawing.names or ())) == ("bars", [f"x[{index}]" for index in range(5)])


def test_tokens_are_handed_out_item_after_item() -> None:
    """Ten words for two items of five ids: each item gets its own five."""
    feeds = {"ids": np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])}
    words = list("abcdefghij")
    drawings = answers(models.embedding(), feeds, "occlusion", tokens=words).drawings()
    assert [list(one.tokens or ()) for one in drawings] == [words[:5], words[5:]]
    assert [one.title for one in drawings] == ["occlusion of y[1], item 0", "occlusion of y[1], item 1"]


def test_an_embedding_inside_the_model_is_a_strip_of_its_ids() -> None:
    """Values [T, E] of a looked-up table are drawn per token, under the ids that were looked up."""
    feeds = {"ids": np.array([[3, 1, 4, 1, 5]])}
    (drawing,) = answers(models.embedding(), feeds, "gradient", inputs=["e"]).drawings()
    assert (drawing.kind, drawing.maps["gradient"].shape) == ("tokens", (5, 3))
    assert drawing.x is not None
    np.testing.assert_array_equal(drawing.x, feeds["ids"][0])


def test_volumes_and_images_take_the_layout() -> None:
    """Five axes with the batch are a volume, four an image over the input; both get the layout that was given."""
    (volume,) = answers(volume_net(), {"x": models.numbers(1, 1, 4, 6, 6)}, "gradient", layout="nchw").drawings()
    (image,) = answers(models.nhwc(), {"x": models.numbers(1, 8, 6, 2)}, "gradient", layout="nhwc").drawings()
    assert (volume.kind, volume.layout) == ("volume", "nchw")
    assert (image.kind, image.layout) == ("image", "nhwc")
    assert volume.png().startswith(b"\x89PNG")
    assert image.png().startswith(b"\x89PNG")


def test_a_layer_inside_has_no_picture_beneath() -> None:
    """Values of a feature map are drawn alone, whatever the input looks like."""
    (drawing,) = answers(models.cnn(), {"x": models.numbers(1, 2, 8, 8)}, "gradient", inputs=["r1"]).drawings()
    assert (drawing.kind, drawing.x) == ("image", None)
    assert drawing.png().startswith(b"\x89PNG")


def test_methods_with_different_targets_say_so() -> None:
    """LRP starts before the Softmax, the gradient after it: each panel names what it explains."""
    model = models.mlp(end="Softmax")
    (drawing,) = answers(model, {"x": models.numbers(1, 6)}, "gradient", "lrp_epsilon", target=None).drawings()
    first, second = drawing.maps
    assert first.startswith("gradient of y[")
    assert second.startswith("lrp_epsilon of h3[")
    assert drawing.title == "2 methods"


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"tokens": ["a"] * 7}, "7 lines for 2 items"),
        ({"tokens": ["a"] * 8}, "nothing here is drawn as tokens"),
        ({"names": ["a"], "kind": "tokens"}, "nothing here is drawn as bars"),
    ],
)
def test_words_that_go_nowhere_are_refused(given: dict[str, Any], match: str) -> None:
    """Tokens that no item can take, and names without a table, are usage errors, not ignored."""
    with pytest.raises(UsageError, match=match):
        answers(models.linear(), {"x": models.numbers(2, 6)[:, :4]}, "gradient", **{"kind": "bars", **given}).drawings()


def test_a_wrong_number_of_names_is_refused() -> None:
    """Three names for four columns."""
    (drawing,) = answers(models.linear(), {"x": models.numbers(1, 4)}, "gradient", names=list("abc")).drawings()
    with pytest.raises(InvalidInput, match="3 names for 4 values"):
        drawing.png()


@folders(GOOD)
def test_models_of_others_are_drawn(folder: Path) -> None:
    """Whatever the gradient explains is drawn, an item at a time, at a size that can be looked at."""
    feeds, _ = case(folder)
    try:
        attribution = explainsvc.load(folder / "model.onnx").explain(feeds, "gradient")
    except ExplainsvcError as error:
        pytest.skip(error.what)
    pictures = {name: list(values) for name, values in feeds.items() if values.ndim}
    for drawing in Answers([attribution], Given(feeds, pictures)).drawings():
        with Image.open(io.BytesIO(drawing.png())) as picture:
            assert 300 <= picture.width <= 2000
            assert 150 <= picture.height <= 4000
