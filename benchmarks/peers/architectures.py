"""The measured networks as torch modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.networks import items, weights


class MnistCnn(nn.Module):
    """Two convolutions, a pool, two dense layers: the network of torch's MNIST example, without its dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(1, 32, 3), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(32, 64, 3), nn.ReLU()
        self.pool, self.flat = nn.MaxPool2d(2), nn.Flatten()
        self.fc1, self.relu3, self.fc2 = nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 1, 28, 28] → logits [N, 10]."""
        h = self.relu2(self.conv2(self.relu1(self.conv1(x))))
        return self.fc2(self.relu3(self.fc1(self.flat(self.pool(h)))))  # type: ignore[no-any-return]


class Bert(nn.Module):
    """transformers' BERT classifier, from the embedded tokens on."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertForSequenceClassification  # seconds that the others do not wait for

        self.bert = BertForSequenceClassification(BertConfig(num_hidden_layers=layers))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, tokens, 768] → logits [N, 2]."""
        return self.bert(inputs_embeds=x).logits  # type: ignore[no-any-return]


def inception() -> nn.Module:
    """Inception-v3 as it is used: without the second head that helps it train."""
    network: nn.Module = torchvision.models.inception_v3(aux_logits=False, init_weights=True)
    return network


MAKERS: Mapping[str, Callable[[], nn.Module]] = {
    "resnet18": torchvision.models.resnet18,
    "resnet18_folded": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "vgg16": torchvision.models.vgg16,
    "densenet121": torchvision.models.densenet121,
    "mobilenet_v2": torchvision.models.mobilenet_v2,
    "efficientnet_b0": torchvision.models.efficientnet_b0,
    "inception_v3": inception,
    "vit_b_16": torchvision.models.vit_b_16,
    "bert_base": lambda: Bert(12),
    "bert_4_layers": lambda: Bert(4),
    "mnist_cnn": MnistCnn,
}


def module(name: str) -> nn.Module:
    """The network with the weights of its exported file, in evaluation mode; parameters need no gradient."""
    place = "cpu" if name.startswith("bert") else "meta"  # random numbers would take seconds; BERT has buffers beside its weights
    with torch.device(place):
        made = MAKERS[name]().eval()
        if name.endswith("_folded"):
            fold(made)
    made.load_state_dict(torch.load(weights(name)), assign=True)
    return made.requires_grad_(False)


def initialised(name: str) -> nn.Module:
    """The network with seeded random weights, as it is exported."""
    torch.manual_seed(0)
    made = MAKERS[name]().eval()
    for layer in made.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.02)  # torchvision's ViT starts with a head of zeros: no gradient
    calm(made, name)
    if name.endswith("_folded"):
        fold(made)
    return made.requires_grad_(False)


def calm(made: nn.Module, name: str) -> None:
    """Gives BatchNorm the statistics of noise: with the initial ones activations grow block by block, to 1e9 and more."""
    norms = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain average of all batches seen
        norm.train()
    with torch.no_grad():
        made(torch.from_numpy(items(name, 8, seed=1)))
    made.eval()


def fold(made: nn.Module) -> None:
    """Every BatchNorm of a ResNet into the convolution before it."""
    for block in list(made.modules()):
        children = list(block.named_children())
        for (before, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, before, fuse_conv_bn_eval(conv, norm))
                setattr(block, name, nn.Identity())
