"""Ablation, permutation and occlusion as captum does them, LIME as the lime package does, Fong & Vedaldi's descent in torch."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
captum_attr = pytest.importorskip("captum.attr")

import explainsvc  # noqa: E402
from explainsvc.method import Request  # noqa: E402
from explainsvc.methods._local_model import fitted  # noqa: E402
from explainsvc.methods.feature_permutation import permutations  # noqa: E402
from explainsvc.methods.meaningful_perturbation import Objective, Params, canvas, minimised  # noqa: E402
from explainsvc.target import resolve_target  # noqa: E402
from tests import models  # noqa: E402
from tests.models import Array, numbers  # noqa: E402
from tests.parity.networks import exported, vgg  # noqa: E402

SMALL = 16
X = numbers(3, 3, SMALL, SMALL)
TARGETS = [4, 0, 2]
BLOCKS = np.arange(16).reshape(4, 4).repeat(4, 0).repeat(4, 1)
"""16 squares of 4 × 4 pixels, all channels."""


@pytest.fixture(scope="module")
def network() -> Any:
    """The torch network in float64."""
    return copy.deepcopy(vgg()).double()


@pytest.fixture(scope="module")
def model() -> explainsvc.Model:
    """Our model of its export."""
    return explainsvc.load(exported(vgg(), SMALL, {}))


def tensor(array: Array) -> Any:
    """In double precision."""
    return torch.tensor(np.ascontiguousarray(array), dtype=torch.float64)


def close(found: Array, expected: Any) -> None:
    """Equal to rounding of float32 over values of the network's size."""
    np.testing.assert_allclose(
        found, expected.detach().numpy() if hasattr(expected, "detach") else expected, rtol=1e-3, atol=2e-6
    )


@pytest.mark.parametrize("mask", [BLOCKS, np.arange(3)[:, None, None]], ids=["squares", "channels"])
def test_feature_ablation_is_captums(model: explainsvc.Model, network: Any, mask: Array) -> None:
    """Squares of pixels, and whole channels, at a baseline of 0.3."""
    features = torch.tensor(np.array(np.broadcast_to(mask, (1, 3, SMALL, SMALL))))
    expected = captum_attr.FeatureAblation(network).attribute(tensor(X), baselines=0.3, target=TARGETS, feature_mask=features)
    found = model.explain({"x": X}, "feature_ablation", TARGETS, feature_mask=mask, baseline=0.3).values["x"]
    close(found, expected)


def test_feature_permutation_is_the_mean_of_captums(model: explainsvc.Model, network: Any) -> None:
    """captum's with each of our permutations in turn, averaged."""
    features = torch.tensor(np.array(np.broadcast_to(BLOCKS, (1, 3, SMALL, SMALL))))

    def permuting(partner: Array) -> Any:
        def permute(x: Any, mask: Any) -> Any:
            return torch.where(mask.bool(), x[partner], x)

        return permute

    maps = [
        captum_attr.FeaturePermutation(network, permuting(partner)).attribute(tensor(X), target=TARGETS, feature_mask=features)
        for partner in permutations(3, 10, 6)
    ]
    found = model.explain({"x": X}, "feature_permutation", TARGETS, seed=6, feature_mask=BLOCKS).values["x"]
    close(found, sum(maps) / len(maps))


@pytest.mark.parametrize(("window", "stride"), [((3, 4, 4), (3, 4, 4)), ((3, 8, 8), (3, 4, 4)), ((1, 8, 4), (1, 4, 2))])
def test_occlusion_is_captums_where_windows_tile(
    model: explainsvc.Model, network: Any, window: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    """Disjoint and overlapping windows, all channels and one, that end at the border."""
    expected = captum_attr.Occlusion(network).attribute(
        tensor(X), sliding_window_shapes=window, strides=stride, baselines=0.1, target=TARGETS
    )
    found = model.explain({"x": X}, "occlusion", TARGETS, window=list(window), stride=list(stride), baseline=0.1).values["x"]
    close(found, expected)


def presence(samples: int, features: int, seed: int) -> Array:
    """The samples that lime draws here: a fair coin per feature, all present in the first."""
    z = np.random.default_rng(seed).integers(0, 2, (features, samples), dtype=np.uint8).astype(np.int64).T
    z[0] = 1
    return z


class Replayed(np.random.RandomState):
    """A generator for the lime package that gives out numbers drawn elsewhere."""

    def __init__(self, draws: Array) -> None:
        super().__init__(0)
        self._draws = draws

    def randint(self, *_: Any, **__: Any) -> Any:
        """For LimeImageExplainer."""
        return self._draws.reshape(-1)

    def normal(self, *_: Any, **__: Any) -> Any:
        """For LimeTabularExplainer."""
        return self._draws.reshape(-1)


def test_lime_of_an_image_is_that_of_the_lime_package(model: explainsvc.Model) -> None:
    """LimeImageExplainer with our samples, superpixels and colour of hidden ones: kernel, distances, ridge and its R²."""
    lime_image = pytest.importorskip("lime.lime_image")
    z = presence(200, 16, 2)

    def classify(images: Array) -> Array:
        return model.predict({"x": np.moveaxis(images, 3, 1).astype(np.float32)})["y"]

    explainer = lime_image.LimeImageExplainer(random_state=Replayed(z))
    for item, target in zip(X, TARGETS, strict=True):
        theirs = explainer.explain_instance(
            np.moveaxis(item, 0, 2).astype(float), classify, labels=(target,), top_labels=None, hide_color=0.25, num_samples=200,
            random_seed=0, segmentation_fn=lambda _: BLOCKS,
        )  # fmt: skip
        expected = np.zeros(16)
        for feature, weight in theirs.local_exp[target]:
            expected[feature] = weight
        ours = model.explain({"x": item[None]}, "lime", target, seed=2, samples=200, feature_mask=BLOCKS, baseline=0.25)
        close(ours.values["x"][0, 1], expected[BLOCKS])
        assert ours.parameters["weighted_r2"][0] == pytest.approx(theirs.score, abs=1e-4)
        assert ours.parameters["intercept"][0] == pytest.approx(theirs.intercept[target], abs=1e-5)


def test_gaussian_lime_of_a_table_is_that_of_the_lime_package() -> None:
    """LimeTabularExplainer(discretize_continuous=False) with our draws: coefficients per standard deviation, and R²."""
    lime_tabular = pytest.importorskip("lime.lime_tabular")
    table, x, rows = explainsvc.load(models.mlp()), numbers(1, 6), 2 * numbers(40, 6, seed=3) + 1
    rng = np.random.default_rng(4)
    draws = np.concatenate([np.zeros((1, 6)), *(rng.standard_normal((1, 6)) for _ in range(299))])
    explainer = lime_tabular.LimeTabularExplainer(
        rows, mode="regression", discretize_continuous=False, random_state=Replayed(draws)
    )
    theirs = explainer.explain_instance(
        x[0].astype(float), lambda r: table.predict({"x": r.astype(np.float32)})["y"][:, 1], num_features=6, num_samples=300
    )
    expected = np.zeros(6)
    for feature, weight in theirs.local_exp[1]:  # [0] has the signs turned
        expected[feature] = weight
    ours = table.explain({"x": x}, "lime", 1, seed=4, samples=300, neighbourhood="gaussian", background=rows)
    close(ours.values["x"][0], expected)
    assert ours.parameters["weighted_r2"][0] == pytest.approx(theirs.score, abs=1e-4)


def test_lime_is_captums_with_the_same_samples(model: explainsvc.Model, network: Any) -> None:
    """captum's LimeBase with our samples and kernel, and scikit-learn's Ridge for its linear model."""
    pytest.importorskip("sklearn")
    from captum._utils.models.linear_model import SkLearnRidge

    z = presence(120, 16, 5)
    grid = torch.tensor(BLOCKS)
    samples = iter(z)

    lime = captum_attr.LimeBase(
        network,
        SkLearnRidge(alpha=1.0),
        similarity_func=lambda _, __, row, **___: float(np.exp(-((1 - np.sqrt(float(row.sum()) / 16)) ** 2) / (2 * 0.25**2))),
        perturb_func=lambda _, **__: torch.tensor(next(samples))[None],
        perturb_interpretable_space=True,
        from_interp_rep_transform=lambda row, x, **_: x * row[0][grid],
        to_interp_rep_transform=None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum tells that scikit-learn is slow
        expected = lime.attribute(tensor(X[:1]), target=TARGETS[0], n_samples=120)
    found = model.explain({"x": X[:1]}, "lime", TARGETS[0], seed=5, samples=120, feature_mask=BLOCKS).values["x"]
    close(found[0, 0], expected.numpy()[0][BLOCKS])


@pytest.mark.parametrize(("samples", "features"), [(200, 10), (30, 80)])
def test_the_ridge_is_that_of_scikit_learn(samples: int, features: int) -> None:
    """Coefficients, intercept and weighted score of Ridge(alpha=1) with sample weights."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    z, y, weights = (
        numbers(samples, features).astype(float),
        numbers(samples, seed=1).astype(float),
        np.abs(numbers(samples, seed=2)),
    )
    theirs = linear_model.Ridge(alpha=1.0).fit(z, y, sample_weight=weights)
    ours = fitted(z, y, weights.astype(float), 1.0)
    np.testing.assert_allclose(ours.coefficients, theirs.coef_, rtol=1e-6, atol=1e-9)
    assert ours.intercept == pytest.approx(theirs.intercept_, abs=1e-9)
    assert ours.r2 == pytest.approx(theirs.score(z, y, sample_weight=weights), abs=1e-9)


def gaussian(x: Any, sigma: float) -> Any:
    """Blur of [N, C, H, W] in torch, edges repeated."""
    reach = int(4 * sigma + 0.5)
    line = torch.exp(-(torch.arange(-reach, reach + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    line = (line / line.sum())[None, None, :]
    n, c, h, w = x.shape
    for _ in range(2):
        flat = torch.nn.functional.pad(x.reshape(n * c * h, 1, w), (reach, reach), mode="replicate")
        x = torch.nn.functional.conv1d(flat, line).reshape(n, c, h, w).transpose(2, 3)
        h, w = w, h
    return x


def test_the_descent_is_that_of_torch(model: explainsvc.Model, network: Any) -> None:
    """Fong & Vedaldi's objective in torch, its autograd and its Adam: the same mask after 20 steps, softmax and all."""
    p = Params(steps=20, cell=56.0, mask_blur=28.0, blur=40.0, jitter=0, lambda1=1e-3, lambda2=0.05)
    wanted = resolve_target(TARGETS, "y", lambda name: model.value_of({"x": X}, name), True)
    request = Request(model, {"x": X}, ("x",), wanted, 0, lambda *_: None)
    c = canvas(request, "x", p)
    assert c.cells == (3, 4, 4)
    found = minimised(Objective(request, p, True, {"x": c}), {"x": np.full(c.cells, 0.5)})["x"]

    x = tensor(X)
    null = gaussian(x, 40 * 16 / 224)
    mask = torch.full((3, 1, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([mask], lr=0.1)
    for _ in range(20):
        fine = gaussian(torch.nn.functional.interpolate(mask, size=(16, 16), mode="bilinear"), 28 * 16 / 224)
        shares = torch.softmax(network(fine * x + (1 - fine) * null), dim=1)[range(3), TARGETS]
        rough = (mask.diff(dim=2).abs() ** 3).sum() + (mask.diff(dim=3).abs() ** 3).sum()
        loss = 1e-3 * (1 - mask).abs().sum() + 0.05 * rough + shares.sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            mask.clamp_(0, 1)
    np.testing.assert_allclose(found, mask.detach().numpy()[:, 0], atol=2e-3)
    assert np.abs(found - 0.5).max() > 0.2
