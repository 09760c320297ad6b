"""captum's DeepLift and shap's DeepExplainer on the same networks; completeness where they have no complete rule."""

from __future__ import annotations

import copy
import io
import warnings
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

import torchvision  # noqa: E402
from torch import nn  # noqa: E402
from torchvision.models.convnext import CNBlockConfig, ConvNeXt  # noqa: E402
from torchvision.models.vision_transformer import VisionTransformer  # noqa: E402

import explainsvc  # noqa: E402
from tests.models import Array, numbers  # noqa: E402
from tests.parity.networks import distance, resnet  # noqa: E402

TARGETS = [0, 1, 2, 3]
METHODS = ["deeplift", "deeplift_reveal_cancel"]


class Encoder(nn.Module):
    """One transformer encoder layer (attention, GELU, layer normalisation) over five tokens, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True, dropout=0.0)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        """[N, 5, 16] → [N, 4]."""
        return self.head(self.layer(x).mean(1))


def _mlp(activation: Any, other: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), activation, nn.Linear(12, 9), other, nn.Linear(9, 4))


def _convolutions(first: Any, pool: Any, second: Any, features: int) -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3, padding=1), first, pool, nn.Conv2d(8, 12, 3), second, nn.Flatten(), nn.Linear(features, 4)]
    return nn.Sequential(*layers)


NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "relu": (lambda: _mlp(nn.ReLU(), nn.ReLU()), (6,)),
    "sigmoid, tanh": (lambda: _mlp(nn.Sigmoid(), nn.Tanh()), (6,)),
    "convolutions": (lambda: _convolutions(nn.ReLU(), nn.AvgPool2d(2), nn.ELU(), 432), (3, 16, 16)),
    "leaky relu, softplus": (lambda: _convolutions(nn.LeakyReLU(), nn.AvgPool2d(2), nn.Softplus(), 432), (3, 16, 16)),
    "max-pooling": (lambda: _convolutions(nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), 432), (3, 16, 16)),
    "overlapping max-pooling": (lambda: _convolutions(nn.ReLU(), nn.MaxPool2d(3, 2), nn.ReLU(), 300), (3, 16, 16)),
    "encoder": (Encoder, (5, 16)),
    "vit": (lambda: VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=4), (3, 32, 32)),
    "convnext": (lambda: ConvNeXt([CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)], num_classes=4), (3, 32, 32)),
    "resnet18": (lambda: resnet("resnet18"), (3, 64, 64)),
    "densenet": (lambda: torchvision.models.DenseNet(8, (2, 2), 16), (3, 64, 64)),
}


@cache
def network(name: str) -> Any:
    """A torch network in evaluation mode; vectors of parameters are shaken, so that no bias is 0 and no scale 1."""
    torch.manual_seed(3)
    net = NETWORKS[name][0]().eval()
    for parameter in net.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    if name == "vit":
        net.heads.head.weight.data.normal_()
    return net


@cache
def model(name: str) -> explainsvc.Model:
    """Our model of it."""
    file = io.BytesIO()
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        torch.onnx.export(network(name), (torch.zeros(2, *NETWORKS[name][1]),), file, dynamo=False, opset_version=17, **names)
    return explainsvc.load(onnx.ModelProto.FromString(file.getvalue()))


def pair(name: str) -> tuple[Array, Array]:
    """Four items and a baseline for each."""
    shape = NETWORKS[name][1]
    return numbers(4, *shape), numbers(4, *shape, seed=1)


@pytest.mark.parametrize("name", ["relu", "sigmoid, tanh", "convolutions", "leaky relu, softplus"])
def test_deeplift_equals_captum(name: str) -> None:
    """The whole map within 1e-4 of its norm, captum in float64 (its max-pooling and normalisations are not complete)."""
    captum = pytest.importorskip("captum.attr")
    x, x0 = pair(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns about its hooks
        peer = captum.DeepLift(copy.deepcopy(network(name)).double())
        expected = peer.attribute(torch.tensor(x).double(), torch.tensor(x0).double(), target=TARGETS).detach().numpy()
    found = model(name).explain({"x": x}, "deeplift", target=TARGETS, baseline=x0).values["x"]
    assert distance(found, expected) < 1e-4


def deep_explainer(name: str, x: Array, rows: Array) -> Array:
    """shap's answer in float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing shap warns about optional packages
        shap = pytest.importorskip("shap")
        peer = shap.DeepExplainer(copy.deepcopy(network(name)).double(), torch.tensor(rows).double())
        every = peer.shap_values(torch.tensor(x).double(), check_additivity=False)
    return np.stack([every[k, ..., target] for k, target in enumerate(TARGETS)])


@pytest.mark.parametrize("name", ["relu", "sigmoid, tanh", "convolutions", "leaky relu, softplus", "max-pooling"])
def test_deep_shap_equals_shap(name: str) -> None:
    """DeepExplainer over five rows, max-pooling included, within 1e-4 of the norm."""
    x, rows = numbers(4, *NETWORKS[name][1]), numbers(5, *NETWORKS[name][1], seed=1)
    found = model(name).explain({"x": x}, "deep_shap", target=TARGETS, background=rows).values["x"]
    assert distance(found, deep_explainer(name, x, rows)) < 1e-4


def test_where_shap_is_not_complete() -> None:
    """Max-pooling by windows that overlap: shap's unpooling overwrites, and its sum misses S(x) − mean S(x′)."""
    name = "overlapping max-pooling"
    x, rows = numbers(4, *NETWORKS[name][1]), numbers(5, *NETWORKS[name][1], seed=1)
    found = model(name).explain({"x": x}, "deep_shap", target=TARGETS, background=rows)
    missed = deep_explainer(name, x, rows).reshape(4, -1).sum(axis=1) - (found.output_value - found.baseline_value)
    assert np.abs(missed).max() > 100 * np.abs(found.residual).max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_contributions_sum_to_the_difference(name: str, method: str) -> None:
    """Σ over the input is S(x) − S(x′), S by torch, within 1e-4 of the largest difference: attention and residuals included."""
    x, x0 = pair(name)
    found = model(name).explain({"x": x}, method, target=TARGETS, baseline=x0)
    with torch.no_grad():
        gap = (network(name)(torch.tensor(x)) - network(name)(torch.tensor(x0))).numpy().astype(np.float64)
    expected = gap[range(4), TARGETS]
    total = found.values["x"].astype(np.float64).reshape(4, -1).sum(axis=1)
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-2
    assert not found.caveats


@pytest.mark.parametrize("name", ["max-pooling", "encoder", "convnext"])
def test_where_captum_is_not_complete(name: str) -> None:
    """Max-pooling and layer normalisation: captum's contributions miss the difference a hundred times further than ours."""
    captum = pytest.importorskip("captum.attr")
    x, x0 = pair(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = captum.DeepLift(copy.deepcopy(network(name)).double())
        theirs = peer.attribute(torch.tensor(x).double(), torch.tensor(x0).double(), target=TARGETS).detach().numpy()
    found = model(name).explain({"x": x}, "deeplift", target=TARGETS, baseline=x0)
    assert found.baseline_value is not None
    missed = theirs.reshape(4, -1).sum(axis=1) - (found.output_value - found.baseline_value)
    assert np.abs(missed).max() > 100 * np.abs(found.residual).max()
