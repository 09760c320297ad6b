"""meaningful_perturbation: each adjoint, the whole gradient by differences, the first disc by a loop, and what the map does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import resize

import explainsvc
from explainsvc.errors import InvalidParameter, MethodNotApplicable, NotDifferentiable
from explainsvc.method import Request
from explainsvc.methods._canvas import Canvas, roughness, roughness_gradient
from explainsvc.methods._positions import blurred, upsampling
from explainsvc.methods.meaningful_perturbation import Objective, Params, canvas, first_masks
from explainsvc.target import resolve_target
from tests import models
from tests.models import Array, numbers


def request(proto: Any, feeds: dict[str, Array], target: Any, wanted: Sequence[str] | None = None) -> Request:
    """A checked request on the model's first output."""
    model = explainsvc.load(proto)
    output = model.default_output
    resolved = resolve_target(target, output, lambda name: model.value_of(feeds, name), model.batched(feeds))
    return Request(model, feeds, tuple(wanted or feeds), resolved, 0, lambda *_: None)


@pytest.mark.parametrize(("cells", "size"), [(28, 224), (3, 17), (5, 5), (1, 6), (9, 4)])
def test_upsampling_is_that_of_images(cells: int, size: int) -> None:
    """Linear, half-pixel centres, clamped at the edges: scikit-image's resize."""
    values = numbers(cells).astype(float)
    expected = resize(values, (size,), order=1, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(upsampling(cells, size) @ values, expected, atol=1e-6)


@pytest.mark.parametrize(("size", "sigma"), [(40, 5.0), (12, 3.0), (7, 0.0)])
def test_the_blur_is_gaussian(size: int, sigma: float) -> None:
    """A sum with weights exp(−d²/2σ²) over the positions within 4 σ, edges repeated, along each axis; σ = 0 leaves it."""
    picture = numbers(size, 3).astype(float)
    reach = int(4 * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2)) if sigma > 0 else np.ones(1)
    places = np.clip(np.arange(size)[:, None] + steps, 0, size - 1)
    expected = np.einsum("s,psc->pc", weights / weights.sum(), picture[places])
    np.testing.assert_allclose(blurred(picture, sigma, [0]), expected, atol=1e-10)
    np.testing.assert_allclose(blurred(picture.T, sigma, [1]), expected.T, atol=1e-10)


CANVASES = {
    "channels first": (models.cnn, (2, 2, 8, 8)),
    "channels last": (models.nhwc, (2, 8, 6, 2)),
    "named axes": (models.mlp, (2, 6)),
}


def drawn(name: str, **options: Any) -> Canvas:
    """The canvas of an input of CANVASES."""
    proto, shape = CANVASES[name]
    axes = (0,) if name == "named axes" else ()
    asked = request(proto(), {"x": numbers(*shape)}, 0)
    return canvas(asked, "x", Params(cell=70.0, mask_blur=30.0, axes=axes, **options))


@pytest.mark.parametrize("name", CANVASES)
def test_adjoints(name: str) -> None:
    """⟨A m, g⟩ = ⟨m, Aᵀ g⟩ for the mask over all channels, and for the blend less its constant part."""
    c = drawn(name)
    m, g = numbers(*c.cells, seed=1).astype(float), numbers(*c.x.shape, seed=2).astype(float)
    assert np.vdot(np.broadcast_to(c.spread(m), c.x.shape), g) == pytest.approx(np.vdot(m, c.gathered(g)), rel=1e-12)
    linear = c.blended(m) - c.blended(np.zeros(c.cells))
    assert np.vdot(linear, g) == pytest.approx(np.vdot(m, c.pulled(g)), rel=1e-12)


@pytest.mark.parametrize("name", CANVASES)
def test_the_blend_is_between_picture_and_replacement(name: str) -> None:
    """m = 1 is x, m = 0 the Gaussian blur of its positions alone; shifts move both, the mask stays."""
    c = drawn(name, blur=60.0)
    np.testing.assert_allclose(c.blended(np.ones(c.cells)), c.x, atol=1e-12)
    longest = max(c.x.shape[a] for a in c.axes)
    sigma = [60 * longest / 224 if a in c.axes else 0 for a in range(c.x.ndim)]
    np.testing.assert_allclose(c.blended(np.zeros(c.cells)), ndimage.gaussian_filter(c.x, sigma, mode="nearest"), atol=1e-6)
    moved = c.shifted((2, *[0] * (len(c.axes) - 1)))
    axis = c.axes[0]
    first = np.take(c.x, [0, 0], axis)
    rest = np.take(c.x, range(c.x.shape[axis] - 2), axis)
    np.testing.assert_array_equal(moved.x, np.concatenate([first, rest], axis))


@pytest.mark.parametrize("beta", [1.5, 3.0])
def test_roughness_and_its_gradient(beta: float) -> None:
    """Σ |m(u + e) − m(u)|^β over both axes, by a loop; its gradient by central differences."""
    m = np.random.default_rng(0).random((2, 4, 3))
    loop = sum(abs(m[i, a + 1, b] - m[i, a, b]) ** beta for i in range(2) for a in range(3) for b in range(3))
    loop += sum(abs(m[i, a, b + 1] - m[i, a, b]) ** beta for i in range(2) for a in range(4) for b in range(2))
    assert roughness(m, beta) == pytest.approx(loop)
    np.testing.assert_allclose(roughness_gradient(m, beta), differences(lambda z: roughness(z, beta), m, 1e-6), atol=1e-6)


def differences(f: Any, m: Array, step: float) -> Array:
    """Central differences of a scalar function."""
    found = np.zeros(m.shape)
    for index in np.ndindex(*m.shape):
        e = np.zeros(m.shape)
        e[index] = step
        found[index] = (f(m + e) - f(m - e)) / (2 * step)
    return found


def smooth() -> Any:
    """x double [N, 2, 6, 5] → dense → tanh → dense → y [N, 3], in double precision."""
    graph = """g (double[N, 2, 6, 5] x) => (double[N, 3] y) {
      f = Flatten (x)  h = MatMul (f, w1)  t = Tanh (h)  y = MatMul (t, w2) }"""
    return models.build(
        graph, {"w1": models.weights("w1", 60, 8).astype(float), "w2": 4 * models.weights("w2", 8, 3).astype(float)}
    )


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("target", [[2, 0], {"index": [2, 0], "against": 1}], ids=["class", "contrast"])
def test_the_gradient_of_the_objective(softmax: bool, target: Any) -> None:
    """Through the model, its softmax, the blend, the blur and the upsampling, with all penalties, at a shifted picture."""
    asked, p = (
        request(smooth(), {"x": numbers(2, 2, 6, 5).astype(float)}, target),
        Params(cell=70.0, mask_blur=20.0, lambda1=0.1, lambda2=0.3),
    )
    c = canvas(asked, "x", p)
    objective, moved = Objective(asked, p, softmax, {"x": c}), {"x": c.shifted((1, -2))}
    m = np.random.default_rng(1).uniform(0.1, 0.9, c.cells)
    expected = differences(lambda z: objective.value({"x": z}, moved), m, 1e-5)
    np.testing.assert_allclose(objective.gradient({"x": m}, moved)["x"], expected, rtol=1e-5, atol=1e-7)


def test_the_softmax_is_that_of_a_model() -> None:
    """S of logits with softmax is the output of the same network that ends in Softmax; auto knows which is which."""
    x = numbers(2, 6)
    options: dict[str, Any] = {"axes": [0], "steps": 20, "cell": 30.0}
    logits = explainsvc.load(models.mlp()).explain({"x": x}, "meaningful_perturbation", [1, 2], **options)
    shares = explainsvc.load(models.mlp(end="Softmax")).explain({"x": x}, "meaningful_perturbation", [1, 2], **options)
    raw = explainsvc.load(models.mlp()).explain({"x": x}, "meaningful_perturbation", [1, 2], softmax="no", **options)
    np.testing.assert_allclose(logits.parameters["scores"]["original"], shares.parameters["scores"]["original"], rtol=1e-5)
    np.testing.assert_allclose(logits.values["x"], shares.values["x"], atol=1e-3)
    np.testing.assert_allclose(raw.parameters["scores"]["original"], raw.output_value, rtol=1e-5)
    assert [c for c in logits.caveats if "is the softmax of" in c]
    assert not [c for c in (*shares.caveats, *raw.caveats) if "is the softmax of" in c]


def stripes() -> tuple[Any, Array]:
    """A detector of stripes in one patch (rows 4–11, columns 16–27), and a picture of stripes all over: y = σ(6·mean − 3)."""
    weights = np.zeros((1, 32, 32), np.float32)
    sign = np.where(np.arange(32) % 2 == 0, 1, -1).astype(np.float32)
    weights[:, 4:12, 16:28] = sign[16:28] / 96
    graph = """g (float[N, 1, 32, 32] x) => (float[N, 1] y) {
      m = Mul (x, w)  f = Flatten (m)  s = ReduceSum (f, one)  t = Mul (s, six)  u = Sub (t, three)  y = Sigmoid (u) }"""
    tensors = {"w": weights, "one": np.array([1]), "six": np.array(6, np.float32), "three": np.array(3, np.float32)}
    return models.build(graph, tensors), np.broadcast_to(sign, (1, 1, 32, 32)).astype(np.float32)


def test_the_map_finds_the_patch_and_does_what_it_shows() -> None:
    """Stripes everywhere, looked at in one patch: it alone is deleted; blending as the map shows gives the score it reports."""
    proto, x = stripes()
    model = explainsvc.load(proto)
    found = model.explain({"x": x}, "meaningful_perturbation", 0, mask_blur=4.0)
    v = found.values["x"]
    inside = np.zeros((32, 32), bool)
    inside[4:12, 16:28] = True
    assert v.min() >= 0
    assert v.max() <= 1
    far = ~ndimage.binary_dilation(inside, iterations=5)
    assert v[0, 0][inside].mean() > 5 * v[0, 0][far].mean()
    assert v[0, 0][far].mean() < 0.1
    blurred = ndimage.gaussian_filter(x.astype(float), [0, 0, 10 * 32 / 224, 10 * 32 / 224], mode="nearest")
    shown = (x * (1 - v) + blurred * v).astype(np.float32)
    scores = found.parameters["scores"]
    assert scores["perturbed"][0] == pytest.approx(float(model.predict({"x": shown})["y"][0, 0]), abs=1e-5)
    assert scores["original"][0] == pytest.approx(float(found.output_value[0]))
    assert scores["blurred"][0] == pytest.approx(float(model.predict({"x": blurred.astype(np.float32)})["y"][0, 0]), abs=1e-5)
    assert scores["original"][0] - scores["perturbed"][0] > 0.8 * (scores["original"][0] - scores["blurred"][0])


def test_the_first_mask_is_the_smallest_disc_that_suffices() -> None:
    """Radii from none to the corners in 20 steps; the first that takes off 99 % of what blurring all does, by a loop."""
    proto, x = stripes()
    asked = request(proto, {"x": np.concatenate([x, np.roll(x, 4, axis=3) * 0.8]).astype(np.float32)}, 0)
    p = Params(cell=7.0, mask_blur=0.0)
    objective = Objective(asked, p, False, {"x": canvas(asked, "x", p)})
    found = first_masks(objective)["x"]
    c = objective.canvases["x"]
    centres = np.arange(32) - 15.5
    distance = np.sqrt(centres[:, None] ** 2 + centres**2) / np.sqrt(2 * 16**2)
    for i in range(2):
        blend = [np.where(distance >= k / 20, c.x[i], c.null[i]) for k in range(20)]
        y = [asked.model.predict({"x": b[None].astype(np.float32)})["y"][0, 0] for b in (*blend, c.null[i])]
        k = next(k for k in range(20) if y[0] - y[k] >= 0.99 * (y[0] - y[-1]))
        assert 0 < k < 19
        np.testing.assert_array_equal(found[i], distance >= k / 20)


def test_items_are_independent() -> None:
    """A picture explained alone and beside another one: the same map, up to float32."""
    model, x = explainsvc.load(models.cnn()), 3 * numbers(2, 2, 8, 8)
    both = model.explain({"x": x}, "meaningful_perturbation", [0, 1], steps=10).values["x"]
    alone = model.explain({"x": x[1:]}, "meaningful_perturbation", 1, steps=10).values["x"]
    np.testing.assert_allclose(both[1:], alone, atol=1e-3)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])


def test_other_replacements_and_seeds() -> None:
    """A number in place of the blurred picture is what scores "blurred" is of; jitter follows the seed."""
    model, x = explainsvc.load(models.cnn()), 3 * numbers(1, 2, 8, 8)
    options: dict[str, Any] = {"steps": 5, "baseline": 0.5, "softmax": "no", "jitter": 100}
    found = [model.explain({"x": x}, "meaningful_perturbation", 0, seed=s, **options) for s in (0, 0, 1)]
    np.testing.assert_allclose(
        found[0].parameters["scores"]["blurred"], model.predict({"x": np.full_like(x, 0.5)})["y"][:, 0], rtol=1e-5
    )
    np.testing.assert_array_equal(found[0].values["x"], found[1].values["x"])
    assert np.abs(found[0].values["x"] - found[2].values["x"]).max() > 1e-3
    with pytest.raises(InvalidParameter, match="baseline"):
        model.explain({"x": x}, "meaningful_perturbation", 0, baseline={"z": "blur"})


def test_what_the_mask_cannot_do_is_told() -> None:
    """A target that is higher where all is replaced; and steps too few to take much away."""
    proto, x = stripes()
    model = explainsvc.load(proto)
    higher = model.explain({"x": -x}, "meaningful_perturbation", 0, steps=2)
    assert [c for c in higher.caveats if "nothing to delete" in c]
    weak = model.explain({"x": x}, "meaningful_perturbation", 0, lambda1=1.0)
    assert [c for c in weak.caveats if "takes off only" in c]


def test_inputs_without_positions_or_gradient_are_refused() -> None:
    """A table and a tree, each with what is missing."""
    with pytest.raises(MethodNotApplicable, match=r"shape \[6\].*lime or occlusion"):
        explainsvc.load(models.mlp()).explain({"x": numbers(1, 6)}, "meaningful_perturbation", 0)
    with pytest.raises(NotDifferentiable, match="TreeEnsembleClassifier"):
        explainsvc.load(models.trees()).explain({"x": numbers(1, 2)}, "meaningful_perturbation", 0)


def test_an_input_that_all_items_share_has_one_mask() -> None:
    """One mask for the factors k of all items, and finite differences of the summed objective."""
    graph = "g (double[N, 4] x, double[4] k) => (double[N, 2] y) { p = Mul (x, k)  t = Tanh (p)  y = MatMul (t, w) }"
    proto = models.build(graph, {"w": models.weights("w", 4, 2).astype(float)})
    asked = request(proto, {"x": numbers(3, 4).astype(float), "k": numbers(4, seed=1).astype(float)}, [0, 1, 1])
    p = Params(axes=(0,), cell=100.0, mask_blur=30.0)
    canvases = {n: canvas(asked, n, p) for n in asked.wanted}
    assert (canvases["x"].cells[0], canvases["k"].cells[0]) == (3, 1)
    objective = Objective(asked, p, False, canvases)
    masks = {n: np.random.default_rng(2).uniform(0.1, 0.9, c.cells) for n, c in canvases.items()}
    found = objective.gradient(masks)
    for name in asked.wanted:
        expected = differences(lambda z, name=name: objective.value(masks | {name: z}), masks[name], 1e-5)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-7)
    first = first_masks(objective)
    assert {n: m.shape for n, m in first.items()} == {n: c.cells for n, c in canvases.items()}
