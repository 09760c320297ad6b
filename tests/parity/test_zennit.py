"""zennit's composites on the same network, in float64."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("zennit")

from zennit.attribution import Gradient  # noqa: E402
from zennit.composites import EpsilonPlus, EpsilonPlusFlat, LayerMapComposite, layer_map_base  # noqa: E402
from zennit.rules import Epsilon, ZPlus  # noqa: E402
from zennit.torchvision import ResNetCanonizer  # noqa: E402
from zennit.types import Linear  # noqa: E402

import explainsvc  # noqa: E402
from tests.models import Array, numbers  # noqa: E402
from tests.parity.networks import SIZE, distance, exported, resnet, vgg  # noqa: E402

TARGET = [3, 1]
SMALL = 16


def _everywhere(rule: Any) -> Any:
    """One rule at every convolution and dense layer."""
    return lambda zero_params=None: LayerMapComposite([(Linear, rule(zero_params)), *layer_map_base()])


COMPOSITES: dict[str, Any] = {
    "lrp_epsilon": _everywhere(lambda zero: Epsilon(epsilon=1e-6, zero_params=zero)),
    "lrp_z_plus": _everywhere(lambda zero: ZPlus(zero_params=zero)),
    "lrp_epsilon_plus": lambda zero_params=None: EpsilonPlus(epsilon=1e-6, zero_params=zero_params),
    "lrp_epsilon_plus_flat": lambda zero_params=None: EpsilonPlusFlat(epsilon=1e-6, zero_params=zero_params),
}


def relevance(network: Any, x: Array, method: str, bias: bool, residual: bool) -> Array:
    """zennit's answer in float64.

    Its canonizer multiplies BatchNorm into the convolution but leaves the layer's own ε, which then divides by
    √(1 + 1e-5) once more: ε is set to 0 after canonizing.
    """
    net = copy.deepcopy(network).double()
    handles = ResNetCanonizer().apply(net) if residual else []
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    composite = COMPOSITES[method](zero_params=None if bias else ["bias"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about hooks on the first module
        with Gradient(net, composite) as attributor:
            hot = torch.eye(net(torch.zeros(1, *x.shape[1:], dtype=torch.float64)).shape[1], dtype=torch.float64)[TARGET]
            _, found = attributor(torch.tensor(x, dtype=torch.float64), lambda y: hot * y.detach())
    assert residual == bool(handles)
    return np.asarray(found.detach().numpy())


@cache
def network(name: str) -> Any:
    """A torch network."""
    return vgg() if name == "vgg" else resnet(name)


@cache
def model(name: str) -> explainsvc.Model:
    """Our model of it."""
    return explainsvc.load(exported(network(name), SMALL if name == "vgg" else SIZE, {"dynamo": False}))


@pytest.mark.parametrize("bias", [True, False], ids=["bias counted", "bias ignored"])
@pytest.mark.parametrize("method", ["lrp_epsilon_plus", "lrp_epsilon_plus_flat"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_equal_zennit(name: str, method: str, bias: bool) -> None:
    """The whole map of both items within 1e-4 of its norm, with biases counted or ignored."""
    x = numbers(2, 3, SIZE, SIZE)
    found = model(name).explain({"x": x}, method, target=TARGET, bias="counted" if bias else "ignored").values["x"]
    assert distance(found, relevance(network(name), x, method, bias, residual=True)) < 1e-4


@pytest.mark.parametrize("bias", [True, False], ids=["bias counted", "bias ignored"])
@pytest.mark.parametrize("method", COMPOSITES)
def test_a_plain_network_equals_zennit(method: str, bias: bool) -> None:
    """Every preset on convolutions, max-pooling and dense layers."""
    x = numbers(2, 3, SMALL, SMALL)
    found = model("vgg").explain({"x": x}, method, target=TARGET, bias="counted" if bias else "ignored").values["x"]
    assert distance(found, relevance(network("vgg"), x, method, bias, residual=False)) < 1e-4


@pytest.mark.parametrize("method", ["lrp_epsilon_plus", "lrp_epsilon_plus_flat", "lrp_z_plus"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_relevance_sums_to_the_output(name: str, method: str) -> None:
    """With biases ignored LRP through all residual Adds keeps S to a thousandth."""
    found = model(name).explain({"x": numbers(2, 3, SIZE, SIZE)}, method, target=TARGET, bias="ignored")
    np.testing.assert_allclose(found.values["x"].astype(np.float64).sum(axis=(1, 2, 3)), found.output_value, rtol=1e-3)
