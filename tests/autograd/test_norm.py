"""Normalisations: attributes, optional operands, extra results, ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch.nn.functional as F

from explainsvc.autograd.differentiate import differentiate
from explainsvc.errors import NotDifferentiable
from tests.autograd.harness import Case, build, check, emitted
from tests.autograd.rows import both, normal, positive, without_ranks

C3 = [1 + 0.3 * normal(3), normal(3, seed=1)]
STATISTICS = [*C3, normal(3, seed=2), positive(3)]
MICROSOFT = "com.microsoft"


def batch_norm(epsilon: float) -> Any:
    """ONNX' BatchNormalization in inference."""

    def function(x: Any, *vectors: Any) -> Any:  # torch has no gradient for the statistics: written out
        scale, bias, mean, variance = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in vectors)
        return (x - mean) / (variance + epsilon).sqrt() * scale + bias

    return function


def layer_norm(axis: int, epsilon: float = 1e-5) -> Any:
    """ONNX' LayerNormalization, written out, because torch wants full shapes."""

    def function(x: Any, scale: Any, bias: Any = 0.0) -> Any:
        axes = tuple(range(axis % x.ndim, x.ndim))
        return _centred(x, axes) * _inverse(_centred(x, axes), axes, epsilon) * scale + bias

    return function


def rms_norm(axis: int, epsilon: float = 1e-5) -> Any:
    """ONNX' RMSNormalization."""
    return lambda x, scale: x * _inverse(x, tuple(range(axis % x.ndim, x.ndim)), epsilon) * scale


def _centred(x: Any, axes: tuple[int, ...]) -> Any:
    return x - x.mean(axes, keepdim=True)


def _inverse(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    return ((x * x).mean(axes, keepdim=True) + epsilon).rsqrt()


def layer_mean(x: Any, *_: Any) -> Any:
    """Result 1 of LayerNormalization."""
    return x.mean(-1, keepdim=True)


def layer_inverse(x: Any, *_: Any) -> Any:
    """Result 2 of LayerNormalization."""
    return (x.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()


def group_norm(groups: int, epsilon: float = 1e-5) -> Any:
    """ONNX' GroupNormalization since opset 21."""
    return lambda x, s, b: F.group_norm(x, groups, s, b, epsilon)


BATCH = both(
    *(Case("BatchNormalization", [normal(*s), *STATISTICS], torch=batch_norm(1e-5)) for s in [(2, 3), (2, 3, 4), (2, 3, 2, 2)]),
    Case("BatchNormalization", [normal(1, 3, 2, 2, 2), *STATISTICS], {"epsilon": 0.1}, torch=batch_norm(0.1)),
    Case("BatchNormalization", [normal(2, 3, 2), *STATISTICS], constant=[1, 2, 3, 4], torch=batch_norm(1e-5)),
)
PER_ITEM = both(
    *(
        Case("InstanceNormalization", [normal(*s), *C3], torch=lambda x, s, b: F.instance_norm(x, weight=s, bias=b))
        for s in [(2, 3, 4), (2, 3, 2, 3)]
    ),
    Case(
        "InstanceNormalization",
        [normal(2, 3, 4), *C3],
        {"epsilon": 0.2},
        constant=[1, 2],
        torch=lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=0.2),
    ),
    *(
        Case(
            "GroupNormalization",
            [x, *vectors],
            {"num_groups": groups, "epsilon": epsilon},
            torch=group_norm(groups, epsilon),
            finite_differences=False,
        )  # its function body casts to float32
        for x, vectors, groups, epsilon in [
            (normal(2, 4, 3), [normal(4), normal(4, seed=1)], 2, 1e-5),
            (normal(1, 3, 2, 2), C3, 3, 1e-5),
            (normal(2, 3, 2, 2), C3, 1, 0.1),
        ]
    ),
)
LAYER = both(
    Case("LayerNormalization", [normal(2, 4), normal(4), normal(4, seed=1)], torch=layer_norm(-1)),
    Case("LayerNormalization", [normal(2, 3, 4), normal(4)], {"epsilon": 0.1}, torch=layer_norm(-1, 0.1)),
    Case("LayerNormalization", [normal(2, 3, 4), normal(3, 4), normal(3, 4, seed=1)], {"axis": 1}, torch=layer_norm(1)),
    Case("LayerNormalization", [normal(2, 3, 4), normal(3, 4), normal(4, seed=1)], {"axis": -2}, torch=layer_norm(-2)),
    Case("LayerNormalization", [normal(2, 3), normal(2, 3)], {"axis": 0}, torch=layer_norm(0)),
    Case("LayerNormalization", [normal(2, 4), normal(4), normal(4, seed=1)], constant=[1, 2], torch=layer_norm(-1)),
    Case("LayerNormalization", [normal(2, 4), normal(4)], outputs=3, torch=layer_norm(-1)),
    Case(
        "LayerNormalization",
        [normal(2, 4), normal(4)],
        outputs=3,
        output=1,
        wanted=[0],
        torch=layer_mean,
        finite_differences=False,
    ),  # onnxruntime stashes statistics in float32
    Case(
        "LayerNormalization",
        [normal(2, 4), normal(4)],
        outputs=3,
        output=2,
        wanted=[0],
        torch=layer_inverse,
        finite_differences=False,
    ),
    Case("RMSNormalization", [normal(2, 4), normal(4)], opset=23, torch=rms_norm(-1)),
    Case(
        "RMSNormalization",
        [normal(2, 3, 4), normal(3, 4)],
        {"axis": 1, "epsilon": 0.1},
        opset=23,
        torch=rms_norm(1, 0.1),
    ),
    Case("RMSNormalization", [normal(2, 3, 4), normal(4)], {"axis": -1}, opset=23, constant=[1], torch=rms_norm(-1)),
)
CHANNELS = both(  # onnx's reference evaluator has another window; onnxruntime takes odd sizes and rank 4 only
    *(
        Case(
            "LRN",
            [3 * normal(2, channels, 2, 2)],
            {"size": size, "alpha": 0.7, "beta": 0.6, "bias": 1.5},
            torch=lambda x, k=size: F.local_response_norm(x, k, 0.7, 0.6, 1.5),
            finite_differences=False,
        )
        for channels, size in [(5, 3), (2, 5), (7, 5), (2, 1)]
    ),
    Case(
        "LRN",
        [3 * normal(1, 4, 3, 2)],
        {"size": 3},
        torch=lambda x: F.local_response_norm(x, 3),
        finite_differences=False,
    ),
)
PLAIN = both(
    *(
        Case(
            "LpNormalization",
            [normal(2, 3, 2)],
            {"axis": axis, "p": p},
            torch=lambda x, a=axis, q=p: x / x.norm(q, a, keepdim=True),
        )
        for axis in (-1, 0, 1)
        for p in (1, 2)
    ),
    Case("LpNormalization", [normal(4)], torch=lambda x: x / x.norm()),
    Case(
        "MeanVarianceNormalization",
        [normal(2, 3, 2, 2)],
        finite_differences=False,
        torch=lambda x: _centred(x, (0, 2, 3)) * _inverse(_centred(x, (0, 2, 3)), (0, 2, 3), 0.0),
    ),
    Case(
        "MeanVarianceNormalization",
        [normal(2, 3, 4)],
        {"axes": [-1]},
        finite_differences=False,
        torch=lambda x: _centred(x, (2,)) * _inverse(_centred(x, (2,)), (2,), 0.0),
    ),
)


def skip_layer(x: Any, skip: Any, scale: Any, bias: Any = 0.0, before: Any = 0.0) -> Any:
    """onnxruntime's SkipLayerNormalization."""
    return layer_norm(-1, 1e-12)(x + skip + (0.0 if before is None else before), scale, 0.0 if bias is None else bias)


def skip_rms(x: Any, skip: Any, scale: Any, before: Any = 0.0) -> Any:
    """onnxruntime's SkipSimplifiedLayerNormalization."""
    return rms_norm(-1, 1e-12)(x + skip + before, scale)


X, SKIP = normal(2, 3, 4), normal(2, 3, 4, seed=1)
ADDED = [normal(4, seed=i) for i in range(3)]
FUSED = [
    Case(op_type, operands, torch=function, domain=MICROSOFT, finite_differences=False)
    for op_type, operands, function in [
        ("SkipLayerNormalization", [X, SKIP, *ADDED], skip_layer),
        ("SkipLayerNormalization", [X, SKIP, ADDED[0]], skip_layer),
        ("SkipLayerNormalization", [X, SKIP, ADDED[0], None, ADDED[2]], skip_layer),
        ("SkipSimplifiedLayerNormalization", [X, SKIP, ADDED[0]], skip_rms),
        ("SkipSimplifiedLayerNormalization", [X, SKIP, ADDED[0], ADDED[1]], skip_rms),
    ]
]
FUSED += [
    Case(
        "SkipLayerNormalization",
        [X, SKIP, ADDED[0]],
        torch=lambda x, s, _: x + s,
        domain=MICROSOFT,
        outputs=4,
        output=3,
        wanted=[0, 1],
        finite_differences=False,
        name="SkipLayerNormalization: the sum",
    ),
]
FUSED += [  # which onnxruntime's optimiser writes into ONNX's own domain
    Case("SimplifiedLayerNormalization", [X, ADDED[0]], {"epsilon": 0.1}, torch=rms_norm(-1, 0.1), finite_differences=False),
]

ROWS = [*BATCH, *PER_ITEM, *LAYER, *CHANNELS, *PLAIN, *FUSED]


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_gradient(case: Case) -> None:
    """The gradient equals torch autograd and central finite differences."""
    check(case)


def needs_rank(case: Case) -> bool:
    """An axis counted from the start tells the last axes only together with the rank."""
    return case.op_type in ("LayerNormalization", "RMSNormalization") and case.attributes.get("axis", -1) >= 0


@pytest.mark.parametrize("case", [c for c in ROWS if not c.dynamic and not needs_rank(c)], ids=str)
def test_unknown_rank(case: Case) -> None:
    """Channels and trailing axes need no rank."""
    without_ranks(case)


def test_batch_statistics_are_refused() -> None:
    """In training mode items depend on each other: the refusal names the node and says what to do."""
    case = Case("BatchNormalization", [normal(2, 3), *STATISTICS], {"training_mode": 1}, outputs=3, wanted=[0])
    with pytest.raises(NotDifferentiable, match="evaluation mode"):
        differentiate(build(case, np.float32), ["x0"])


@pytest.mark.parametrize("p", [1, 2])
def test_zero_norm(p: int) -> None:
    """A row of zeros is left as it is by onnxruntime, and has a gradient of zero instead of 0/0."""
    _, gradients, _ = emitted(Case("LpNormalization", [np.array([[0.0, 0.0], [1.0, -2.0]])], {"p": p}))
    assert np.isfinite(gradients[0]).all()
    np.testing.assert_array_equal(gradients[0][0], 0)
