from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import pearsonr, rankdata, spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

from explainsvc.checks import pictures, ranking, similarity
from explainsvc.checks.similarity import (
    JUDGED,
    SIMILARITIES,
    Reference,
    Scene,
    chosen,
    correlation,
    missing,
    spearman,
    spearman_abs,
)
from explainsvc.errors import InvalidParameter
from tests.checks.models import Array


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_scipys(ties: bool) -> None:
    """Per item the rank correlation equals scipy.stats.spearmanr, with ties and without."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 50)).astype(np.float32)
    if ties:
        a, b = np.round(a), np.round(b + a)
    expected = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(spearman(a, b), expected, rtol=0, atol=1e-12)
    expected = [spearmanr(np.abs(x), np.abs(y)).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(spearman_abs(a, b), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [40, ranking.LONG, ranking.LONG + 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranks_are_scipys(dtype: type[np.floating], count: int) -> None:
    """Mean ranks equal scipy.stats.rankdata: zeros of both signs, denormals, the largest floats, with ties and without."""
    rng = np.random.default_rng(1)
    limits = np.finfo(dtype)
    maps = rng.integers(-3, 4, (5, count)).astype(dtype)
    maps[0, ::2] *= -0.0
    maps[1, :6] = [limits.max, limits.min, limits.smallest_subnormal, -limits.smallest_subnormal, 0.0, -0.0]
    maps[2:4] = rng.standard_normal((2, count)) * 10.0 ** rng.integers(-38, 38, (2, count))
    np.testing.assert_array_equal(ranking.ranks(maps), rankdata(maps, axis=1))


@pytest.mark.parametrize("fast", [True, False])
def test_long_maps_have_the_same_ranks_by_both_ways(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever this processor is faster at."""
    monkeypatch.setattr(ranking, "_compares_fast", lambda: fast)
    rng = np.random.default_rng(2)
    maps = np.stack([rng.standard_normal(5000), rng.integers(-40, 40, 5000), np.zeros(5000)]).astype(np.float32)
    np.testing.assert_array_equal(ranking.ranks(maps), rankdata(maps, axis=1))


def test_a_map_with_nan_has_no_ranks() -> None:
    """The item's ranks are NaN, those of the others are untouched."""
    maps = np.arange(12, dtype=np.float32).reshape(3, 4)
    maps[1, 2] = -np.inf
    found = ranking.ranks(maps)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[[0, 2]], [[1, 2, 3, 4]] * 2)


def test_correlation_is_scipys() -> None:
    """Pearson's correlation per item equals scipy.stats.pearsonr."""
    a, b = np.random.default_rng(2).normal(size=(2, 4, 9))
    expected = [pearsonr(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-12)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_constant_map_has_no_similarity(name: str) -> None:
    """A constant map gives NaN and a reason, also against itself, never 1."""
    a = np.random.default_rng(3).normal(size=(3, 34 * 33)).astype(np.float32)
    a[1] = 0.1
    values = SIMILARITIES[name](a, a, Scene((34, 33)))
    np.testing.assert_allclose(values[[0, 2]], 1.0)
    assert np.isnan(values[1])
    assert missing(values, a, a) == "1 of 3 inputs left out: a constant map"


def test_a_map_with_nan_has_no_similarity() -> None:
    """NaN or infinity in either map gives NaN and another reason."""
    a = np.random.default_rng(4).normal(size=(3, 10)).astype(np.float32)
    b = a.copy()
    b[0, 3], b[1] = np.inf, 0.0
    values = spearman(a, b)
    assert np.isnan(values[:2]).all()
    assert values[2] == pytest.approx(1.0)
    words = missing(values, a, b)
    assert "1 of 3 inputs left out: a constant map" in words
    assert "1 of 3 inputs left out: NaN or infinity" in words


def test_large_batches_are_ranked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts give what the whole gives."""
    a, b = np.random.default_rng(5).normal(size=(2, 7, 30))
    whole = spearman(a, b)
    monkeypatch.setattr(similarity, "CHUNK_ELEMENTS", 60)
    monkeypatch.setattr(ranking, "CHUNK_ELEMENTS", 60)
    np.testing.assert_array_equal(spearman(a, b), whole)


# Against scipy and scikit-image, item by item ---------------------------------------------------------------------


def maps(item: tuple[int, ...], seed: int = 0, count: int = 4) -> tuple[Array, Array, Scene]:
    """Two batches of smooth maps that are alike in part, flattened as checks hold them."""
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=item), 1.5) for _ in range(2 * count)]
    a, b = (np.stack(part).astype(np.float32).reshape(count, -1) for part in (smooth[:count], smooth[count:]))
    return a, a + b, Scene(item)


PICTURES = [(3, 40, 53), (40, 53, 3), (33, 28), (1, 28, 28)]


def channels_last(flat: Array, item: tuple[int, ...]) -> Array:
    """|map|/max|map| as scikit-image wants it: [height, width, channel]."""
    picture = np.abs(flat.astype(np.float64)).reshape(item)
    picture = picture[..., None] if len(item) == 2 else picture if item[-1] == 3 else np.moveaxis(picture, 0, -1)
    return picture / picture.max()


@pytest.mark.parametrize("item", PICTURES)
def test_ssim_is_scikit_images(item: tuple[int, ...]) -> None:
    """Gaussian window, σ = 1.5, per channel, of magnitudes scaled to 0…1 (Wang et al. 2004)."""
    a, b, scene = maps(item)
    expected = [
        structural_similarity(
            channels_last(x, item), channels_last(y, item), data_range=1.0, channel_axis=-1, gaussian_weights=True,
            sigma=1.5, use_sample_covariance=False,
        )
        for x, y in zip(a, b, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(SIMILARITIES["ssim"](a, b, scene), expected, atol=1e-6)
    assert max(expected) < 0.99


@pytest.mark.parametrize("item", [(3, 40, 53), (40, 53, 3), (33, 66), (3, 64, 80)])
def test_hog_is_scikit_images(item: tuple[int, ...]) -> None:
    """Rank correlation of the features of skimage.feature.hog, cells of 16 × 16, blocks of at most 3 × 3."""
    a, b, scene = maps(item, seed=1)
    rows, columns = (item[axis] // 16 for axis in scene.axes or ())

    def features(flat: Array) -> Array:
        picture = channels_last(flat.astype(np.float32), item)
        return hog(picture, pixels_per_cell=(16, 16), cells_per_block=(min(3, rows), min(3, columns)), channel_axis=-1)

    np.testing.assert_allclose(pictures.hog(pictures_of(a, scene)), [features(x) for x in a], atol=1e-6)
    expected = [spearmanr(features(x), features(y)).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(SIMILARITIES["hog"](a, b, scene), expected, atol=1e-3)


def pictures_of(a: Array, scene: Scene) -> Array:
    """As the similarity makes them, in float64."""
    return similarity._pictures(a.astype(np.float64), scene)


def test_pearson_is_scipys() -> None:
    """Of the signed maps, element by element."""
    a, b, scene = maps((3, 8, 8))
    expected = [pearsonr(x.astype(float), y.astype(float)).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(SIMILARITIES["pearson"](a, b, scene), expected, atol=1e-12)


def test_sign_agreement_counts_elements() -> None:
    """Elements that are zero in both maps say nothing; zero against a number disagrees."""
    a = np.array([[1, -2, 0, 0, 3, 0], [1, 1, -1, -1, 1, 1]], np.float32)
    b = np.array([[5, 1, 0, 0, 2, -1], [-1, -2, 3, 1, -1, -5]], np.float32)
    np.testing.assert_allclose(SIMILARITIES["sign_agreement"](a, b), [2 / 4, 0])


@pytest.mark.parametrize("top", [0.05, 0.3, 1.0])
def test_topk_intersection_counts_elements(top: float) -> None:
    """Share of the k elements of largest magnitude that both maps have, by sorting."""
    a, b, _ = maps((3, 6, 7))
    k = round(top * 126)
    expected = [len(set(np.argsort(-abs(x))[:k]) & set(np.argsort(-abs(y))[:k])) / k for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(SIMILARITIES["topk_intersection"](a, b, Scene(top=top)), expected, rtol=1e-6)


def test_ties_at_the_kth_place_share_it() -> None:
    """k = 2, one clear winner and three tied at the second place: a third each. The place does not decide."""
    a = np.array([[9, 1, 1, 1, 0, 0, 0, 0, 0, 0]], np.float32)
    b = np.array([[9, 0, 0, 0, 0, 0, 0, 0, 0, 5]], np.float32)
    c = np.array([[9, 5, 0, 0, 0, 0, 0, 0, 0, 0]], np.float32)
    found = [SIMILARITIES["topk_intersection"](a, other, Scene(top=0.2))[0] for other in (a, b, c)]
    np.testing.assert_allclose(found, [1, 1 / 2, (1 + 1 / 3) / 2], rtol=1e-6)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_every_similarity_is_symmetric_and_one_with_itself(name: str) -> None:
    """s(a, b) = s(b, a), s(a, a) = 1, and unlike maps have less."""
    a, b, scene = maps((3, 32, 32))
    forth, back, same = (SIMILARITIES[name](x, y, scene) for x, y in ((a, b), (b, a), (b, b)))
    np.testing.assert_allclose(forth, back, atol=1e-6)
    np.testing.assert_allclose(same, 1, atol=1e-6)
    assert (forth < 0.99).all()


def test_all_means_those_that_the_maps_have() -> None:
    """SSIM wants 11 × 11, HOG 32 × 32; rows of numbers have neither. By name they are there, and say why they have no value."""
    flat = set(SIMILARITIES) - {"ssim", "hog"}
    assert set(chosen("all", Scene((3, 32, 32)))) == set(SIMILARITIES)
    assert set(chosen("all", Scene((28, 28)))) == flat | {"ssim"}
    assert set(chosen("all", Scene((300,)))) == set(chosen("all", Scene())) == flat
    a, b, scene = maps((12, 12))
    ((_, values, note),) = Reference.of(a, scene, "hog").against(b)
    assert np.isnan(values).all()
    assert "32 × 32" in note


def test_similarities_are_asked_for_by_name() -> None:
    """Names separated by commas; others are refused with the names that there are."""
    assert list(chosen(" spearman, pearson,spearman", Scene())) == ["spearman", "pearson"]
    assert set(JUDGED) < set(SIMILARITIES)
    for wrong in ("spearmann", "", ",", "all,spearman"):
        with pytest.raises(InvalidParameter, match="topk_intersection"):
            chosen(wrong, Scene())
