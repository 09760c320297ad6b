"""Activation maps of transformers over patches: their tokens are a grid."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import explainsvc
from explainsvc.errors import MethodNotApplicable
from tests import models
from tests.methods.cams import FORMULAS, activation, expected_map, gradient_at, run
from tests.models import Array, numbers

WIDTH, ROWS, COLUMNS = 6, 2, 3
X = numbers(2, 3, 8, 12)


def block(number: int, x: str, y: str, norm: bool = True) -> str:
    """One pre-norm block: y = z + mlp(norm(z)), z = x + attention(norm(x)), one head."""
    n = f"n{number}" if norm else x
    return f"""
      {f"{n} = LayerNormalization ({x}, one, zero)" if norm else ""}
      q{number} = MatMul ({n}, wq)  k{number} = MatMul ({n}, wk)  v{number} = MatMul ({n}, wv)
      t{number} = Transpose <perm = [0, 2, 1]> (k{number})  s{number} = MatMul (q{number}, t{number})
      p{number} = Softmax <axis = 2> (s{number})  o{number} = MatMul (p{number}, v{number})
      z{number} = Add ({x}, o{number})  m{number} = MatMul (z{number}, wm)  g{number} = Relu (m{number})
      {y} = Add (z{number}, g{number})"""


def vit(readout: str = "class", norm: bool = True, before: int = 1) -> onnx.ModelProto:
    """x [N, 3, 8, 12] → 2×3 patches of 4×4 → two blocks → y [N, 4], read from the class token or the mean."""
    tokens = ROWS * COLUMNS + before
    begin = "whole = Concat <axis = 1> (cls, flat)" if before else "whole = Identity (flat)"
    end = "r = Gather <axis = 1> (e, first)" if readout == "class" else "r = ReduceMean <axes = [1], keepdims = 0> (e)"
    graph = f"""g (float[N, 3, 8, 12] x) => (float[N, 4] y) {{
      patches = Conv <strides = [4, 4]> (x, w, b)  rows = Reshape (patches, spread)  flat = Transpose <perm = [0, 2, 1]> (rows)
      items = Shape <start = 0, end = 1> (x)  shape = Concat <axis = 0> (items, single)  cls = Expand (token, shape)
      {begin}
      a = Add (whole, places)
      {block(1, "a", "c", norm)}
      {block(2, "c", "d", norm)}
      e = LayerNormalization (d, one, zero)
      {end}
      y = MatMul (r, head)
    }}"""
    tensors = {n: models.weights(n, WIDTH, WIDTH) for n in ("wq", "wk", "wv", "wm")}
    tensors |= {
        "w": models.weights("w", WIDTH, 3, 4, 4),
        "b": models.weights("b", WIDTH),
        "head": models.weights("head", WIDTH, 4),
    }
    tensors |= {"one": 1 + models.weights("one", WIDTH), "zero": models.weights("zero", WIDTH)}
    tensors |= {"token": models.weights("token", 1, max(before, 1), WIDTH), "places": models.weights("places", 1, tokens, WIDTH)}
    tensors |= {"spread": np.array([0, WIDTH, -1], np.int64), "single": np.array([max(before, 1), WIDTH], np.int64)}
    return models.build(graph, tensors | {"first": np.array(0, np.int64)})


def grid(tokens: Array, before: int) -> Array:
    """[N, tokens, C] without the first ones → [N, C, rows, columns]."""
    return tokens[:, before:].transpose(0, 2, 1).reshape(len(tokens), WIDTH, ROWS, COLUMNS)


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("method", FORMULAS)
def test_tokens_are_laid_out_as_their_patches(method: str, before: int) -> None:
    """The formula on the tokens of patches as a grid, the class token and its companions left out."""
    proto = vit("class" if before else "mean", before=before)
    a = activation(proto, X, "n2")
    cut = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(proto)).extract_model(["n2", "c"], ["y"])
    g = explainsvc.load(cut).explain({"n2": a, "c": activation(proto, X, "c")}, target=1, inputs=["n2"]).values["n2"]
    expected = expected_map(method, grid(a, before), grid(g, before), (8, 12))
    found = explainsvc.load(proto).explain({"x": X}, method, target=1)
    assert np.abs(expected).max() > 0
    assert found.parameters["layer"] == "n2"
    np.testing.assert_allclose(found.values["x"][:, 0], expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_channels_of_tokens_are_ablated_and_scored_as_those_of_pictures() -> None:
    """ablation_cam: w_k = (S − S_k) / |S| with channel k of every token at 0, over the grid of patches."""
    proto = vit()
    a, c, y = run(proto, {"x": X}, "n2", "c", "y")
    cut = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(proto)).extract_model(["n2", "c"], ["y"])
    off = [run(cut, {"n2": a * (np.arange(WIDTH) != k).astype(np.float32), "c": c}, "y")[0][:, 1] for k in range(WIDTH)]
    weights = (y[:, 1] - np.array(off)) / np.abs(y[:, 1])
    ones = np.ones_like(grid(a, 1))
    expected = expected_map("hires_cam", weights.T[:, :, None, None] * grid(a, 1), ones, (8, 12))
    model = explainsvc.load(proto)
    found = model.explain({"x": X}, "ablation_cam", target=1, relu=False).values["x"][:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    for method in ("score_cam", "eigen_cam"):
        assert np.ptp(model.explain({"x": X}, method, target=1).values["x"]) > 0


def test_a_layer_of_tokens_can_be_named() -> None:
    """Any value of the residual stream; a token beside the grid that is its own has gradient, and is left out."""
    proto = vit()
    a = activation(proto, X, "c")
    g = gradient_at(proto, "c", a, target=2)
    found = explainsvc.load(proto).explain({"x": X}, "grad_cam", target=2, layer="c").values["x"][:, 1]
    expected = expected_map("grad_cam", grid(a, 1), grid(g, 1), (8, 12))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_last_tokens_have_no_influence_on_a_class_token() -> None:
    """At the last normalisation, which a class token is read from, the map is zero, and a caveat says so: no default."""
    found = explainsvc.load(vit()).explain({"x": X}, "grad_cam", target=1, layer="e")
    assert not found.values["x"].any()
    assert any("zero everywhere" in caveat for caveat in found.caveats)


def test_blocks_without_normalisation_have_no_default_layer() -> None:
    """Where the choice is not clear the refusal names candidates; one of them by name is taken."""
    model = explainsvc.load(vit(norm=False))
    with pytest.raises(MethodNotApplicable, match="not clear") as caught:
        model.explain({"x": X}, "grad_cam", target=1)
    assert '"d"' in caught.value.expected
    assert model.explain({"x": X}, "grad_cam", target=1, layer="c", relu=False).values["x"].any()
