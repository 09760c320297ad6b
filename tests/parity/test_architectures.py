"""Gradients of architectures as their exporters write them; ``python -m tests.parity.record`` measures all combinations."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("transformers")

import explainsvc  # noqa: E402
from tests.parity.agreement import EXPORTERS, LIMIT, Truth, agreement, truth, truth_of  # noqa: E402
from tests.parity.architectures import ARCHITECTURES  # noqa: E402

QUICK = [
    ("BERT", "dynamo", 23),
    ("GPT-2", "torchscript", 17),
    ("Llama", "dynamo", 23),
    ("Llama", "torchscript", 17),
    ("ViT", "torchscript", 13),
    ("Whisper", "torchscript", 17),
    ("swin_t, small", "dynamo", 18),
    ("mobilenet_v3_small", "dynamo", 21),
    ("efficientnet_b0", "torchscript", 17),
    ("convnext_tiny", "torchscript", 17),
    ("googlenet", "torchscript", 13),
]
MORE = [
    ("BERT", "torchscript", 13),
    ("GPT-2", "dynamo", 18),
    ("Llama", "dynamo", 22),
    ("Whisper", "dynamo", 20),
    ("vit_b_16, small", "torchscript", 17),
    ("resnet50", "torchscript", 17),
    ("densenet121", "torchscript", 17),
    ("inception_v3", "torchscript", 17),
]
ONE_BY_ONE = {("Llama", "dynamo", 23)}
"""torch 2.15 writes RotaryEmbedding with cosines of one item, which onnxruntime refuses for several."""


@cache
def model(name: str, exporter: str, opset: int) -> explainsvc.Model:
    """Our model of one export."""
    return explainsvc.load(EXPORTERS[exporter](ARCHITECTURES[name], opset))


@cache
def expected(name: str) -> Truth:
    """torch's answers, the same for all exports."""
    return truth_of(ARCHITECTURES[name])


@pytest.mark.parametrize(
    ("name", "exporter", "opset"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in MORE)], ids=str
)
def test_gradients_equal_torch_autograd(name: str, exporter: str, opset: int) -> None:
    """Predictions and gradients of every item are those of torch in float64; no pass is taken back.

    At a kink (a ReLU within rounding of 0) the gradient is one that torch gives within rounding of the input, or where its
    ReLUs open as ours do.
    """
    ours, one_by_one = model(name, exporter, opset), (name, exporter, opset) in ONE_BY_ONE
    found = agreement(ours, expected(name), ARCHITECTURES[name].smooth, one_by_one)
    assert found.outputs < LIMIT
    assert found.gradients < LIMIT
    assert [p.note for p in ours.prepared.passes if p.note] == []
    assert all(ours.info.differentiable[wanted] == "" for wanted in expected(name).gradients)


@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_fewer_and_shorter_sentences_padded_on_the_left(name: str) -> None:
    """Open axes are open, and what sees only padding under the causal mask, a softmax of −∞ alone, gives no NaN."""
    feeds = {wanted: array[:2, :5] for wanted, array in expected(name).feeds.items()}
    feeds["attention_mask"] = np.array([[0, 1, 1, 1, 1], [0, 0, 0, 1, 1]])
    found = agreement(model(name, "torchscript", 17), truth(expected(name).network, feeds), smooth=True)
    assert found.outputs < LIMIT
    assert found.gradients < LIMIT
