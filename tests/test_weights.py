from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import explainsvc
from explainsvc.errors import InvalidParameter
from explainsvc.graph.layers import Parameter, Unit
from explainsvc.model import Model
from explainsvc.randomisation import Draws, all_random
from explainsvc.weights import (
    DISTRIBUTIONS,
    coverage,
    parameter_units,
    reinitialise,
    weights_of,
)
from tests.checks.models import Array, built, cnn, numbers, pictures


def tensors(model: Model) -> dict[str, Array]:
    """The initializers of a model's own file."""
    return {t.name: numpy_helper.to_array(t) for t in model.proto.graph.initializer}


def unit_of(nodes: list[onnx.NodeProto], shape: list[object], weights: dict[str, Array]) -> tuple[Unit, ...]:
    """The units of a small model."""
    return parameter_units(explainsvc.load(built(nodes, shape, weights)))


def test_units_come_output_side_first_under_the_sources_names() -> None:
    """Layers in reverse topological order, each with its weight and bias and fans from its operator."""
    units = parameter_units(cnn())
    assert [u.name for u in units] == ["head", "second", "first"]
    assert units[0].tensors == (Parameter("v", "weight", 128, 5), Parameter("d", "bias", 1, 1))
    assert (units[1].fan_in, units[1].fan_out) == (2 * 9, 2 * 9)


def test_a_fused_layer_keeps_the_sources_name() -> None:
    """MatMul + Add become one Gemm in the prepared graph; the unit is called as the MatMul was."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "dense/MatMul"),
        helper.make_node("Add", ["m", "b"], ["y"], "dense/BiasAdd"),
    ]
    (unit,) = unit_of(nodes, ["n", 6], {"w": numbers(6, 3), "b": numbers(3)})
    assert unit.name == "dense/MatMul"
    assert [(p.role, p.fan_in, p.fan_out) for p in unit.tensors] == [("weight", 6, 3), ("bias", 1, 1)]


@pytest.mark.parametrize(
    ("op", "shape", "weight", "attributes", "fans"),
    [
        ("Conv", ["n", 4, 9, 9], (6, 2, 3, 5), {"group": 2}, (2 * 15, 3 * 15)),
        ("ConvTranspose", ["n", 4, 9, 9], (4, 3, 3, 3), {"group": 2}, (2 * 9, 3 * 9)),
        ("Gemm", ["n", 7], (7, 3), {}, (7, 3)),
        ("Gemm", ["n", 7], (3, 7), {"transB": 1}, (7, 3)),
        ("MatMul", ["n", 2, 7], (7, 3), {}, (7, 3)),
        ("Einsum", ["n", 7], (7, 2, 3), {"equation": "nk,kab->nab"}, (7, 6)),
    ],
)
def test_fans_count_what_is_summed(
    op: str, shape: list[object], weight: tuple[int, ...], attributes: dict[str, object], fans: tuple[int, int]
) -> None:
    """fan_in is the number of products that one output element sums over: all-ones weights and inputs give it."""
    node = helper.make_node(op, ["x", "w"], ["y"], "layer", **attributes)
    model = explainsvc.load(built([node], shape, {"w": np.ones(weight, np.float32)}))
    (unit,) = parameter_units(model)
    assert (unit.fan_in, unit.fan_out) == fans
    ones = np.ones([3 if not isinstance(n, int) else n for n in shape], np.float32)
    assert model.predict({"x": ones})["y"].max() == fans[0]


def test_attention_masks_and_scalars_are_not_learned() -> None:
    """A mask of -1e9 and the 0.5 of a formula stay; a learned scale and shift are one unit."""
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["a"], "half"),
        helper.make_node("Add", ["a", "mask"], ["b"], "mask"),
        helper.make_node("Mul", ["b", "gamma"], ["c"], "gamma"),
        helper.make_node("Add", ["c", "beta"], ["y"], "beta"),
    ]
    constants = {"half": np.float32(0.5).reshape(()), "mask": np.array([0, -1e9, 0, 0], np.float32)}
    (unit,) = unit_of(nodes, ["n", 4], constants | {"gamma": numbers(4), "beta": numbers(4, seed=1)})
    assert unit.name == "gamma"
    assert [(p.name, p.role) for p in unit.tensors] == [("gamma", "scale"), ("beta", "shift")]


def test_a_shared_initializer_belongs_to_one_unit() -> None:
    """Tied weights are re-initialised once, with the unit nearest to the output."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "in"), helper.make_node("MatMul", ["h", "w"], ["y"], "out")]
    units = unit_of(nodes, ["n", 4], {"w": numbers(4, 4)})
    assert [(u.name, [p.name for p in u.tensors]) for u in units] == [("out", ["w"])]


def test_every_weight_is_covered() -> None:
    """No float tensor of the model is outside all units."""
    model = cnn()
    assert coverage(model, parameter_units(model)) == 1.0


@pytest.mark.parametrize(
    ("distribution", "std"),
    [("he_normal", math.sqrt(2 / 400)), ("lecun_normal", math.sqrt(1 / 400)), ("glorot_uniform", math.sqrt(2 / 700))],
)
def test_draws_have_the_declared_spread(distribution: str, std: float) -> None:
    """Mean 0 and the formula's standard deviation, within five standard errors of 120,000 draws; biases are zero."""
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], "layer")
    model = explainsvc.load(built([node], ["n", 400], {"w": numbers(400, 300) * 7, "b": numbers(300)}))
    (unit,) = parameter_units(model)
    new = reinitialise(model.prepared, unit, distribution, 0)
    weight, bias = (new[p.name] for p in unit.tensors)
    error = 5 / math.sqrt(weight.size)
    assert abs(weight.mean()) < error * std
    assert weight.std() == pytest.approx(std, rel=error)
    assert not bias.any()
    if distribution == "glorot_uniform":
        assert np.abs(weight).max() <= np.float32(math.sqrt(6 / 700))


def test_normal_same_std_has_the_old_spread() -> None:
    """σ of the new weights is σ of the old ones, and biases are drawn too."""
    model = cnn()
    head = parameter_units(model)[0]
    old, new = weights_of(model.prepared, head), reinitialise(model.prepared, head, "normal_same_std", 0)
    assert new["v"].std() == pytest.approx(old["v"].std(), rel=5 / math.sqrt(old["v"].size))
    assert new["d"].all()


def test_permute_keeps_the_multiset() -> None:
    """Every tensor holds the same numbers in another order."""
    model = cnn()
    for unit in parameter_units(model):
        old, new = weights_of(model.prepared, unit), reinitialise(model.prepared, unit, "permute", 0)
        assert any((old[name] != new[name]).any() for name in old)
        for name in old:
            np.testing.assert_array_equal(np.sort(old[name], axis=None), np.sort(new[name], axis=None))


def test_normalisations_become_the_identity() -> None:
    """A BatchNormalization that no pass can fold gets scale 1, shift 0, mean 0, variance 1."""
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], "norm")
    values = {"s": numbers(3), "b": numbers(3, seed=1), "m": numbers(3, seed=2), "v": numbers(3, seed=3) ** 2}
    model = explainsvc.load(built([node], ["n", 3, 4, 4], values))
    x = numbers(2, 3, 4, 4)
    random = model.with_weights(all_random(model, Draws()))
    np.testing.assert_allclose(random.predict({"x": x})["y"], x, rtol=1e-4)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_layers_of_the_same_shape_get_different_numbers(distribution: str) -> None:
    """Each unit has its own stream, keyed by seed and name: repeatable, and different for another seed."""
    node = [helper.make_node("MatMul", ["x", "w0"], ["h"], "a"), helper.make_node("MatMul", ["h", "w1"], ["y"], "b")]
    same = numbers(5, 5)
    model = explainsvc.load(built(node, ["n", 5], {"w0": same, "w1": same.copy()}))
    (b, a) = parameter_units(model)
    new = [next(iter(reinitialise(model.prepared, unit, distribution, seed).values())) for unit, seed in
           [(a, 0), (b, 0), (a, 1), (a, 0)]]  # fmt: skip
    assert (new[0] != new[1]).any()
    assert (new[0] != new[2]).any()
    np.testing.assert_array_equal(new[0], new[3])


def test_a_model_with_other_weights_is_its_own_proto() -> None:
    """predict of the new model = onnxruntime on its proto = the same weights put into the original file."""
    model, x = cnn(), pictures(3)
    new = {"w1": numbers(2, 2, 3, 3, seed=9), "d": np.zeros(5, np.float64)}
    other = model.with_weights(new)
    again = explainsvc.load(other.proto.SerializeToString())
    assert other.digest == again.digest != model.digest
    original = onnx.ModelProto()
    original.CopyFrom(model.proto)
    for tensor in original.graph.initializer:
        if tensor.name in new:
            tensor.CopyFrom(numpy_helper.from_array(new[tensor.name].astype(np.float32), tensor.name))
    expected = explainsvc.load(original).predict(x)["y"]
    np.testing.assert_allclose(other.predict(x)["y"], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(other.predict(x)["y"], again.predict(x)["y"])
    assert not np.allclose(other.predict(x)["y"], model.predict(x)["y"])


def test_the_explanation_is_of_the_new_weights() -> None:
    """The gradient of a model with other weights is that of the same model loaded from its file."""
    other, x = cnn().with_weights({"w1": numbers(2, 2, 3, 3, seed=9)}), pictures(3)
    again = explainsvc.load(other.proto.SerializeToString())
    found, expected = (m.explain(x, "gradient", 2).values["x"] for m in (other, again))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit_are_refused() -> None:
    """Unknown names and wrong shapes are listed together."""
    with pytest.raises(InvalidParameter) as error:
        cnn().with_weights({"w9": np.zeros(3), "d": np.zeros(4)})
    assert [v.field for v in error.value.violations] == ['weights["w9"]', 'weights["d"].shape']
