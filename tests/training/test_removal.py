from __future__ import annotations

import numpy as np
import pytest

from explainsvc.checks._features import Features
from explainsvc.training.design import SHARES
from explainsvc.training.removal import Estimator, Removal, channel_means, estimators, features_of, ranks_of, replaced
from tests.training.informative import FEATURES, GRADIENT, TEST_SET, TRAIN_SET, pointing


def test_the_most_important_features_go_to_the_mean_and_the_least_for_kar() -> None:
    """Exactly the share of each item's largest (smallest) values is replaced, by the training set's mean of the feature."""
    x = TRAIN_SET.inputs["x"]
    scores = np.random.default_rng(0).normal(size=x.shape)
    places = np.argsort(np.argsort(-scores, axis=1), axis=1).astype(np.int32)
    means = channel_means(x)
    np.testing.assert_allclose(means[0], x.mean(axis=0), rtol=1e-5, atol=1e-6)
    for order, sign in (("roar", 1), ("kar", -1)):
        found = replaced(x, places, np.arange(FEATURES), Removal(0, order, 0.3), means)
        top = np.argsort(-sign * scores, axis=1)[:, :6]
        expected = x.copy()
        np.put_along_axis(expected, top, np.take_along_axis(np.broadcast_to(means, x.shape), top, axis=1), axis=1)
        np.testing.assert_array_equal(found, expected)


def test_pictures_have_one_mean_a_channel_and_pixels_go_with_all_channels() -> None:
    """The mean is over items and pixels; a pixel's place is that of the sum over its channels."""
    x = np.random.default_rng(0).normal(size=(30, 3, 4, 5)).astype(np.float32)
    means = channel_means(x)
    assert means.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(means.reshape(-1), x.mean(axis=(0, 2, 3)), atol=1e-6)
    features = features_of("x", (3, 4, 5), "pixels")
    assert features.count == 20
    places = np.tile(np.arange(20, dtype=np.int32), (30, 1))
    found = replaced(x, places, features.numbers["x"], Removal(0, "roar", 0.25), means)
    assert (found[:, :, 0, :] == means[:, :, 0]).all()
    np.testing.assert_array_equal(found[:, :, 1:], x[:, :, 1:])


@pytest.mark.parametrize("squared", [False, True])
def test_ranks_are_those_of_the_explanations_values(squared: bool) -> None:
    """Largest signed value first, or largest square; onnxruntime's gradients by hand: those of a linear model are its weights."""
    weights = np.random.default_rng(3).normal(size=FEATURES)
    features = features_of("x", (FEATURES,), "scalars")
    found = ranks_of(pointing(weights), Estimator("gradient", squared=squared), TEST_SET.inputs, features, 0)
    expected = np.argsort(np.argsort(-(weights**2 if squared else weights)))
    np.testing.assert_array_equal(found, np.tile(expected, (len(TEST_SET), 1)))


def test_equal_values_are_ranked_in_a_seeded_random_order() -> None:
    """A map without contrast removes other features from each item; the same seed the same ones."""
    features = Features({"x": np.arange(FEATURES)}, FEATURES)
    first, again, other = (ranks_of(pointing(np.ones(FEATURES)), GRADIENT, TEST_SET.inputs, features, s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.abs(first.mean(axis=0) - (FEATURES - 1) / 2).max() < 2.5
    assert (np.sort(first, axis=1) == np.arange(FEATURES)).all()


def test_estimators_of_the_paper() -> None:
    """Each base raw and in three ensembles, each as it is and squared; parameters go to the ensembles."""
    found = estimators(["gradient", "integrated_gradients"], samples=15)
    assert len(found) == len({estimator.name for estimator in found}) == 16
    assert found[0].name == "gradient"
    assert found[3] == Estimator("smoothgrad", {"base": "gradient", "samples": 15}, squared=True)
    assert found[3].name == "smoothgrad(gradient)²"
    assert SHARES == (0, 0.1, 0.3, 0.5, 0.7, 0.9)
