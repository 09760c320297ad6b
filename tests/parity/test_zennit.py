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
from zennit.composites import (  # noqa: E402
    BetaSmooth,
    EpsilonAlpha2Beta1,
    EpsilonAlpha2Beta1Flat,
    EpsilonGammaBox,
    EpsilonPlus,
    EpsilonPlusFlat,
    ExcitationBackprop,
    LayerMapComposite,
    SpecialFirstLayerMapComposite,
    layer_map_base,
)
from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, ZBox, ZPlus  # noqa: E402
from zennit.torchvision import ResNetCanonizer  # noqa: E402
from zennit.types import Activation, Linear  # noqa: E402

import explainsvc  # noqa: E402
from tests.models import Array, numbers  # noqa: E402
from tests.parity.networks import SIZE, distance, exported, resnet, signed, vgg  # noqa: E402

TARGET = [3, 1]
SMALL = 16


def _everywhere(rule: Any) -> Any:
    """One rule at every convolution and dense layer."""
    return lambda zero_params=None: LayerMapComposite([(Linear, rule(zero_params)), *layer_map_base()])


LOW, HIGH = np.array([-5, -4.5, -6], np.float32), np.array([5, 6, 4.5], np.float32)
BOX = {"low": LOW, "high": HIGH}
BOUNDS: Any = {name: torch.tensor(b, dtype=torch.float64).reshape(1, 3, 1, 1) for name, b in BOX.items()}


def _boxed(zero_params: Any = None) -> Any:
    """z^B at the first layer, z⁺ at the others."""
    first = [(Linear, ZBox(**BOUNDS, zero_params=zero_params))]
    return SpecialFirstLayerMapComposite([(Linear, ZPlus(zero_params=zero_params)), *layer_map_base()], first)


def _excited(zero_params: Any = None) -> Any:
    """zennit's own lets activations weigh by their gradient, which are no probabilities but for ReLU."""
    return ExcitationBackprop(layer_map=[(Activation, Pass())], zero_params=zero_params)


COMPOSITES: dict[str, Any] = {
    "lrp_0": _everywhere(lambda zero: Epsilon(epsilon=1e-14, zero_params=zero)),  # with 0 it divides by zero in padding
    "lrp_epsilon": _everywhere(lambda zero: Epsilon(epsilon=1e-6, zero_params=zero)),
    "lrp_z_plus": _everywhere(lambda zero: ZPlus(zero_params=zero)),
    "lrp_alpha_beta": _everywhere(lambda zero: AlphaBeta(alpha=2, beta=1, zero_params=zero)),
    "lrp_gamma": _everywhere(lambda zero: Gamma(gamma=0.25, zero_params=zero)),
    "lrp_flat": _everywhere(lambda zero: Flat(zero_params=zero)),
    "lrp_w_square": _everywhere(lambda _: WSquare(zero_params=["bias"])),
    "lrp_z_box": _boxed,
    "lrp_epsilon_plus": lambda zero_params=None: EpsilonPlus(epsilon=1e-6, zero_params=zero_params),
    "lrp_epsilon_plus_flat": lambda zero_params=None: EpsilonPlusFlat(epsilon=1e-6, zero_params=zero_params),
    "lrp_epsilon_alpha2_beta1": lambda zero_params=None: EpsilonAlpha2Beta1(epsilon=1e-6, zero_params=zero_params),
    "lrp_epsilon_alpha2_beta1_flat": lambda zero_params=None: EpsilonAlpha2Beta1Flat(epsilon=1e-6, zero_params=zero_params),
    "lrp_preset_a": lambda zero_params=None: EpsilonPlus(epsilon=0.1, zero_params=zero_params),
    "lrp_preset_a_flat": lambda zero_params=None: EpsilonPlusFlat(epsilon=0.1, zero_params=zero_params),
    "lrp_preset_b": lambda zero_params=None: EpsilonAlpha2Beta1(epsilon=0.1, zero_params=zero_params),
    "lrp_preset_b_flat": lambda zero_params=None: EpsilonAlpha2Beta1Flat(epsilon=0.1, zero_params=zero_params),
    "lrp_epsilon_gamma_box": lambda zero_params=None: EpsilonGammaBox(**BOUNDS, zero_params=zero_params),
    "excitation_backprop": _excited,
    "beta_smooth": lambda zero_params=None: BetaSmooth(zero_params=zero_params),
}
OPTIONS: dict[str, Any] = {"lrp_z_box": BOX, "lrp_epsilon_gamma_box": BOX, "lrp_gamma": {"gamma": 0.25, "form": "add_positive"}}
FROM_ONE = frozenset({"excitation_backprop", "beta_smooth"})
"""They start with one at the target, not with its value."""


def options(method: str, bias: bool) -> dict[str, Any]:
    """Parameters of our request."""
    return OPTIONS.get(method, {}) | ({} if method == "beta_smooth" else {"bias": "counted" if bias else "ignored"})


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
            _, found = attributor(torch.tensor(x, dtype=torch.float64), lambda y: hot if method in FROM_ONE else hot * y.detach())
    assert residual == bool(handles)
    return np.asarray(found.detach().numpy())


@cache
def network(name: str) -> Any:
    """A torch network."""
    return {"vgg": vgg, "signed": signed}.get(name, lambda: resnet(name))()


@cache
def model(name: str) -> explainsvc.Model:
    """Our model of it."""
    return explainsvc.load(exported(network(name), SMALL if name in ("vgg", "signed") else SIZE, {"dynamo": False}))


@pytest.mark.parametrize("bias", [True, False], ids=["bias counted", "bias ignored"])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("resnet18", "lrp_epsilon_plus"),
        ("resnet18", "lrp_epsilon_plus_flat"),
        ("resnet18", "lrp_epsilon_alpha2_beta1_flat"),
        ("resnet18", "lrp_epsilon_gamma_box"),
        ("resnet18", "excitation_backprop"),
        ("resnet50", "lrp_epsilon_plus"),
        pytest.param("resnet50", "lrp_epsilon_plus_flat", marks=pytest.mark.exhaustive),
    ],
)
def test_resnets_equal_zennit(name: str, method: str, bias: bool) -> None:
    """The whole map of both items within 1e-4 of its norm, with biases counted or ignored."""
    x = numbers(2, 3, SIZE, SIZE)
    found = model(name).explain({"x": x}, method, target=TARGET, **options(method, bias)).values["x"]
    assert distance(found, relevance(network(name), x, method, bias, residual=True)) < 1e-4


class _Smooth(torch.nn.Module):  # type: ignore[name-defined]  # torch has no types here
    """ReLU with the derivative of softplus: a surrogate in torch's own autograd."""

    def forward(self, z: Any) -> Any:
        """Whatever number of times it is used; zennit's hook remembers the input of the last use only."""
        soft = torch.nn.functional.softplus(z, beta=10, threshold=1e9)
        return torch.relu(z).detach() + soft - soft.detach()


def test_beta_smooth_of_a_resnet_is_torchs_gradient() -> None:
    """Its blocks use one ReLU module twice, which zennit's BetaSmooth confuses."""
    x, net = torch.tensor(numbers(2, 3, SIZE, SIZE), dtype=torch.float64, requires_grad=True), copy.deepcopy(network("resnet18"))
    for module in list(net.modules()):
        if isinstance(getattr(module, "relu", None), torch.nn.ReLU):
            module.relu = _Smooth()
    net.double()(x)[[0, 1], TARGET].sum().backward()
    found = model("resnet18").explain({"x": numbers(2, 3, SIZE, SIZE)}, "beta_smooth", target=TARGET).values["x"]
    assert x.grad is not None
    assert distance(found, x.grad.numpy()) < 1e-4


@pytest.mark.parametrize("bias", [True, False], ids=["bias counted", "bias ignored"])
@pytest.mark.parametrize("method", COMPOSITES)
def test_a_plain_network_equals_zennit(method: str, bias: bool) -> None:
    """Every preset on convolutions, max-pooling and dense layers."""
    x = numbers(2, 3, SMALL, SMALL)
    found = model("vgg").explain({"x": x}, method, target=TARGET, **options(method, bias)).values["x"]
    assert distance(found, relevance(network("vgg"), x, method, bias, residual=False)) < 1e-4


@pytest.mark.parametrize("bias", [True, False], ids=["bias counted", "bias ignored"])
@pytest.mark.parametrize("method", COMPOSITES)
def test_groups_strides_and_negative_activations_equal_zennit(method: str, bias: bool) -> None:
    """Every rule at grouped, strided, dilated and transposed convolutions behind LeakyReLU, so that no sign is known."""
    x = numbers(2, 3, SMALL, SMALL, seed=1)
    found = model("signed").explain({"x": x}, method, target=TARGET, **options(method, bias)).values["x"]
    expected = relevance(network("signed"), x, method, bias, residual=False)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("method", ["lrp_epsilon_plus", "lrp_epsilon_plus_flat", "lrp_z_plus"])
@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet50", marks=pytest.mark.exhaustive)])
def test_relevance_sums_to_the_output(name: str, method: str) -> None:
    """With biases ignored LRP through all residual Adds keeps S to a thousandth."""
    found = model(name).explain({"x": numbers(2, 3, SIZE, SIZE)}, method, target=TARGET, bias="ignored")
    np.testing.assert_allclose(found.values["x"].astype(np.float64).sum(axis=(1, 2, 3)), found.output_value, rtol=1e-3)
