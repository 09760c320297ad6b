"""ResNet-18 and ResNet-50 from torchvision, by both exporters: torch autograd and captum decide."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
captum_attr = pytest.importorskip("captum.attr")

import explainsvc  # noqa: E402
from tests.models import Array, numbers  # noqa: E402
from tests.parity.networks import EXPORTS, SIZE, distance, exported, resnet  # noqa: E402

X = numbers(6, 3, SIZE, SIZE)


@cache
def network(name: str) -> Any:
    """The torch network in float64."""
    return copy.deepcopy(resnet(name)).double()


@cache
def targets(name: str) -> list[int]:
    """The winning class of every item: Grad-CAM finds positive evidence for it."""
    with torch.no_grad():
        return list(map(int, network(name)(torch.tensor(X, dtype=torch.float64)).argmax(dim=1)))


@cache
def expected(name: str, method: str) -> Array:
    """What torch and captum say."""
    net, x = network(name), torch.tensor(X, dtype=torch.float64, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum warns that it sets hooks
        if method == "guided_backprop":
            return np.asarray(captum_attr.GuidedBackprop(net).attribute(x, target=targets(name)).detach().numpy())
        if method == "grad_cam":
            cam = captum_attr.LayerGradCam(net, net.layer4).attribute(x, target=targets(name), relu_attributions=True)
            up = captum_attr.LayerAttribution.interpolate(cam, (SIZE, SIZE), "bilinear").detach().numpy()
            return np.asarray(np.repeat(up, 3, axis=1))
    (gradient,) = torch.autograd.grad(net(x)[range(len(X)), targets(name)].sum(), x)
    return np.asarray(gradient.numpy())


Subject = tuple[str, explainsvc.Model]


SUBJECTS = [*(("resnet18", export) for export in EXPORTS), ("resnet50", "torchscript")]
MORE = [("resnet50", export) for export in EXPORTS if export != "torchscript"]


@pytest.fixture(scope="module", params=[*SUBJECTS, *(pytest.param(p, marks=pytest.mark.exhaustive) for p in MORE)], ids=" ".join)
def subject(request: pytest.FixtureRequest) -> Subject:
    """A network's name, and our model of one of its exports."""
    name, export = request.param
    return name, explainsvc.load(exported(resnet(name), SIZE, EXPORTS[export]))


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "grad_cam"])
def test_methods_equal_torch_and_captum(subject: Subject, method: str) -> None:
    """Gradient = torch autograd, guided backprop and Grad-CAM = captum's, to 1e-5 of an item's norm.

    A ReLU whose input is within rounding of 0 opens in float32 and not in float64, which moves an item by up to 1e-2
    (torch's own float32 too); which items have one depends on the processor. A wrong rule moves every item: one without
    a kink decides, and no item is off by more than such a kink.
    """
    name, model = subject
    found = model.explain({"x": X}, method, target=targets(name)).values["x"]
    errors = [distance(a, b) for a, b in zip(found, expected(name, method), strict=True)]
    assert min(errors) < 1e-5
    assert max(errors) < 1e-2


def test_every_export_is_prepared_cleanly(subject: Subject) -> None:
    """BatchNorm is folded, no pass is taken back, and the prepared graph deviates by rounding only."""
    prepared = subject[1].prepared
    assert "BatchNormalization" not in {node.op_type for node in prepared.model.graph}
    assert [p.note for p in prepared.passes if p.note] == []
    assert max(p.error for p in prepared.passes) < 1e-5
