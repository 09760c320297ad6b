"""rise: masks by another interpolation, the sum by a plain loop, and its expectation by all masks there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from skimage.transform import resize

import explainsvc
from explainsvc.errors import InvalidParameter
from explainsvc.methods.rise import Masks, Params, blended
from tests import models
from tests.models import Array, numbers


def upsampled(cells: Array, sizes: tuple[int, ...], shifts: tuple[int, ...]) -> Array:
    """Section 3.2 of the paper: the cells at (grid + 1)·⌈size/grid⌉ positions by scikit-image, cut at the shifts."""
    whole = [(len(cells) + 1) * -(-n // len(cells)) for n in sizes]
    fine = resize(cells.astype(np.float64), whole, order=1, mode="edge", anti_aliasing=False)
    return np.asarray(fine[tuple(slice(s, s + n) for s, n in zip(shifts, sizes, strict=True))])


@pytest.mark.parametrize(
    ("sizes", "grid"), [((8, 8), 2), ((30, 17), 7), ((224, 224), 7), ((50,), 7), ((6, 9, 7), 3), ((4, 3), 7)]
)
def test_masks_are_shifted_upsampled_cells(sizes: tuple[int, ...], grid: int) -> None:
    """Cells, then one shift below a cell for each axis, from the generator; interpolated as scikit-image does."""
    found = Masks((2, *sizes), tuple(range(1, len(sizes) + 1)), False).draw(np.random.default_rng(5), Params(grid=grid))
    rng = np.random.default_rng(5)
    cells = rng.random([grid] * len(sizes)) < 0.5
    shifts = tuple(int(rng.integers(0, -(-n // grid))) for n in sizes)
    np.testing.assert_allclose(found, upsampled(cells, sizes, shifts)[None], atol=1e-5)


def masks_of(shape: tuple[int, ...], axes: tuple[int, ...], seed: int, p: Params) -> Iterator[Array]:
    """The masks that a run of one input draws."""
    rng = np.random.default_rng(seed)
    for _ in range(p.samples):
        yield Masks(shape, axes, False).draw(rng, p)


@pytest.mark.parametrize("batch_size", [1, 6, 50])
def test_the_map_is_a_plain_loop(batch_size: int) -> None:
    """1/(N p) Σ S(x m + x′ (1 − m)) m, mask by mask, whatever the batch size; items with targets of their own."""
    model, x, p = explainsvc.load(models.cnn()), numbers(2, 2, 8, 8), Params(samples=40, grid=3, probability=0.3)
    seen = []
    for mask in masks_of((2, 8, 8), (1, 2), 9, p):
        y = model.predict({"x": (x * mask + 0.4 * (1 - mask)).astype(np.float32)})["y"]
        seen.append(y[[0, 1], [2, 0]].astype(float)[:, None, None, None] * np.broadcast_to(mask, x.shape) / 0.3)
    options = {"samples": 40, "grid": 3, "probability": 0.3, "baseline": 0.4}
    found = model.explain({"x": x}, "rise", [2, 0], seed=9, batch_size=batch_size, **options)
    np.testing.assert_allclose(found.values["x"], np.mean(seen, axis=0), rtol=1e-4, atol=1e-6)
    error = np.std(seen, axis=0, ddof=1) / np.sqrt(40)
    assert found.parameters["standard_error"]["x"] == pytest.approx(error.mean(), rel=1e-4)


def all_masks(grid: int, size: int) -> list[Array]:
    """Every mask of square pictures that can be drawn with p = 1/2, all equally likely."""
    step = -(-size // grid)
    cells = [np.array(c, float).reshape(grid, grid) for c in product([0, 1], repeat=grid**2)]
    return [upsampled(c, (size, size), s) for c in cells for s in product(range(step), repeat=2)]


def test_the_map_converges_to_its_expectation() -> None:
    """Against E[S m]/p and its standard error over all 256 masks of 2 × 2 cells: inside 4.5 standard errors everywhere."""
    model, x, masks = explainsvc.load(models.cnn()), numbers(1, 2, 8, 8), np.stack(all_masks(2, 8))
    y = model.predict({"x": (x * masks[:, None]).astype(np.float32)})["y"][:, 1].astype(np.float64)
    seen = y[:, None, None] * masks / 0.5
    found = model.explain({"x": x}, "rise", target=1, samples=3000, grid=2, batch_size=500)
    error = seen.std(axis=0) / np.sqrt(3000)
    assert np.abs((found.values["x"][0] - seen.mean(axis=0)) / error).max() < 4.5
    assert found.parameters["standard_error"]["x"] == pytest.approx(error.mean(), rel=0.05)


@pytest.mark.parametrize("case", ["tree", "table", "tokens", "without batch"])
def test_inputs_without_positions_are_seen_element_by_element(case: str) -> None:
    """Against all 2^n sharp masks of a tree, a table, a sequence of ids and a model without items."""
    ids, x = np.array([[1, 4, 4, 9, 0]]), numbers(1, 4)
    cases: dict[str, tuple[Any, dict[str, Array]]] = {
        "tree": (models.trees(), {"x": np.array([[1, -2]], np.float32)}),
        "table": (models.linear(), {"x": x}),
        "tokens": (models.embedding(), {"ids": ids}),
        "without batch": (models.without_batch(), {"x": numbers(5)}),
    }
    proto, feeds = cases[case]
    model = explainsvc.load(proto)
    ((name, array),) = feeds.items()
    keep = np.array(list(product([0, 1], repeat=array.size)))
    value = [
        model.explain({name: np.where(k.reshape(array.shape) == 1, array, 0).astype(array.dtype)}, "random", 1) for k in keep
    ]
    seen = np.array([float(v.output_value[0]) for v in value])[:, None] * keep / 0.5
    found = model.explain(feeds, "rise", target=1, samples=2000, batch_size=500).values[name]
    error = seen.std(axis=0) / np.sqrt(2000)
    assert (np.abs(found.reshape(-1) - seen.mean(axis=0)) <= 4.5 * error + 1e-7).all()


def one_dimensional() -> Any:
    """x [N, 6, 40] → Conv along 40 positions → mean → y [N, 3]."""
    graph = """g (float[N, 6, 40] x) => (float[N, 3] y) {
      c = Conv <pads = [1, 1]> (x, w1)  r = Relu (c)  m = ReduceMean <axes = [2], keepdims = 0> (r)  y = MatMul (m, w2) }"""
    return models.build(graph, {"w1": models.weights("w1", 4, 6, 3), "w2": models.weights("w2", 4, 3)})


def three_dimensional() -> Any:
    """x [N, 5, 6, 8, 7] → Conv over three axes → mean → y [N, 3]."""
    graph = """g (float[N, 5, 6, 8, 7] x) => (float[N, 3] y) {
      c = Conv (x, w1)  r = Relu (c)  m = ReduceMean <axes = [2, 3, 4], keepdims = 0> (r)  y = MatMul (m, w2) }"""
    return models.build(graph, {"w1": models.weights("w1", 4, 5, 3, 3, 3), "w2": models.weights("w2", 4, 3)})


@pytest.mark.parametrize(("proto", "shape", "axes"), [
    (one_dimensional, (6, 40), (1,)), (three_dimensional, (5, 6, 8, 7), (1, 2, 3)), (models.nhwc, (8, 6, 2), (0, 1)),
    (models.cnn, (2, 8, 8), (1, 2)),
])  # fmt: skip
def test_the_graph_tells_the_positions(proto: Callable[[], Any], shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """What a convolution convolves: one axis, three, and two that come first in the file."""
    model, x = explainsvc.load(proto()), numbers(1, *shape)
    found = model.explain({"x": x}, "rise", 0, seed=2, samples=6).values["x"][0]
    rng_masks = list(masks_of(shape, axes, 2, Params(samples=6)))
    y = [model.predict({"x": (x * m).astype(np.float32)})["y"][0, 0] for m in rng_masks]
    expected = sum(s * m / 3 for s, m in zip(y, rng_masks, strict=True))
    np.testing.assert_allclose(found, np.broadcast_to(expected, shape), rtol=1e-4, atol=1e-6)


def test_the_user_can_name_the_positions() -> None:
    """axes of one item, from the end too; an axis that is not there is refused."""
    model, x = explainsvc.load(models.mlp()), numbers(2, 6)
    found = model.explain({"x": x}, "rise", 0, samples=50, grid=2, axes=[-1]).values["x"]
    same = model.explain({"x": x}, "rise", 0, samples=50, grid=2, axes=0).values["x"]
    np.testing.assert_array_equal(found, same)
    for axes in (1, [0, 0]):
        with pytest.raises(InvalidParameter, match=r"parameters\.axes"):
            model.explain({"x": x}, "rise", 0, axes=axes)


def test_masks_are_drawn_as_they_are_needed() -> None:
    """Ten million masks begin at once, and no more are drawn than one run holds."""

    class Enough(Exception):
        pass

    def stop(done: int, total: int, what: str) -> None:
        assert (total, what) == (10_000_000, "rise")
        if done == 3:
            raise Enough

    with pytest.raises(Enough):
        explainsvc.load(models.cnn()).explain({"x": numbers(2, 2, 8, 8)}, "rise", 0, samples=10_000_000, progress=stop)


def test_an_input_that_all_items_share_is_seen_with_their_sum() -> None:
    """The factor of k (x·w)² with nothing hidden (p = 1): both maps are the plain values, summed over items for k."""
    x, k, w = numbers(2, 3), np.array([1.5], np.float32), models.weights("w", 3, 2)
    found = explainsvc.load(models.scaled()).explain({"x": x, "k": k}, "rise", [0, 1], samples=4, probability=1).values
    whole = 1.5 * (x @ w)[[0, 1], [0, 1]] ** 2
    np.testing.assert_allclose(found["x"], np.tile(whole[:, None], (1, 3)), rtol=1e-5)
    np.testing.assert_allclose(found["k"], [whole.sum()], rtol=1e-5)


def test_a_noisy_map_is_told() -> None:
    """Few masks leave a standard error like the map's spread, which is said; many do not."""
    model, x = explainsvc.load(models.linear()), numbers(1, 4)
    few, many = (model.explain({"x": x}, "rise", 0, samples=n) for n in (10, 5000))
    assert [c for c in few.caveats if "noisy" in c]
    assert not [c for c in many.caveats if "noisy" in c]


def test_integers_fade_to_the_nearest() -> None:
    """Pixels as bytes: x m + x′ (1 − m) rounded; floats exactly x where m is 1 and x′ where it is 0."""
    x = np.array([200, 100, 7], np.uint8)
    np.testing.assert_array_equal(blended(x, np.zeros_like(x), np.array([0.5, 0.249, 1.0])), [100, 25, 7])
    floats, base = numbers(4), numbers(4, seed=1)
    mask = np.array([1, 0, 1, 0], np.float32)
    np.testing.assert_array_equal(blended(floats, base, mask), np.where(mask == 1, floats, base))
