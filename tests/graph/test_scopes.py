"""A layer is called as the source program calls its module, where the exporter wrote that down."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import pytest
import torch
from torch import nn

import explainsvc
from explainsvc.graph.scopes import NAMESPACE, SCOPES, layer_name
from explainsvc.weights import parameter_units
from tests import models
from tests.graph.exports import EXPORTERS, exported, seeded


def node(name: str, result: str = "y", **metadata: str) -> ir.Node:
    """A node with this name, result and metadata."""
    return ir.node("Relu", [ir.Value(name="x")], name=name, outputs=[ir.Value(name=result)], metadata_props=metadata)


@pytest.mark.parametrize(
    ("name", "result", "layer"),
    [
        ("/encoder/dense/MatMul", "", "encoder.dense"),
        ("/layer1/layer1.0/conv1/Conv", "", "layer1.0.conv1"),
        ("", "/head/MatMul_1_output_0", "head"),
        ("model/dense/MatMul", "", "model/dense"),
        ("Gemm__7", "model/dense_1/BiasAdd:0", "model/dense_1"),
        ("StatefulPartitionedCall/model/conv2d/Conv2D", "", "model/conv2d"),
        ("fire9/expand3x3", "fire9/expand3x3_1", None),
        ("Conv_12", "204", None),
        ("/Add", "", None),
        ("", "", None),
    ],
)
def test_names_of_nodes_and_results_tell_the_layer(name: str, result: str, layer: str | None) -> None:
    """Only a path whose last part is an operator names a layer: other names are the layer's own, or mean nothing."""
    assert layer_name(node(name, result)) == layer


@pytest.mark.parametrize(
    ("metadata", "layer"),
    [
        ({SCOPES: "['', 'encoder', 'encoder.dense', 'linear']"}, "encoder.dense"),
        ({NAMESPACE: ": a.Net/encoder: a.Encoder/encoder.dense: torch.Linear/linear: aten.linear.default"}, "encoder.dense"),
        ({SCOPES: "['', 'relu']"}, None),
        ({SCOPES: "['_empty_nn_module_stack_from_metadata_hook', 'sym_size']"}, None),
        ({SCOPES: "no list at all"}, None),
        ({SCOPES: "[" * 10**6}, None),
    ],
    ids=["scopes", "namespace", "root", "no module", "text", "bomb"],
)
def test_recorded_scopes_tell_the_layer(metadata: dict[str, str], layer: str | None) -> None:
    """The module around the operation; the network itself is no layer, and text that is no list of scopes is none."""
    assert layer_name(node("node_linear_7", **metadata)) == layer


class Network(nn.Module):
    """Dense layers in a list, a normalisation, a head used under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.GELU()) for _ in range(2))
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 4, 6] → [N, 4, 3]."""
        for layer in self.layers:
            x = layer(x)
        y: torch.Tensor = self.head(x)
        return y


EXPECTED = ["head", "layers.1.1", "layers.1.0", "layers.0.1", "layers.0.0"]


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript opset 14"])
def test_layers_of_an_export_are_its_modules(exporter: str) -> None:
    """Every learned tensor's node is in the module of torch's that holds it, also where LayerNorm was fused from nine nodes."""
    options: dict[str, Any] = EXPORTERS[exporter]
    model = explainsvc.load(exported(seeded(Network()), torch.zeros(2, 4, 6), options))
    units = parameter_units(model)
    makers = {v.name: n for n in model.graph for v in n.inputs if v is not None and v.const_value is not None}
    assert [layer_name(makers[unit.tensors[0].name]) for unit in units] == EXPECTED
    names = [unit.name for unit in units]
    assert len(set(names)) == len(names)
    if exporter == "dynamo":  # its nodes' names say nothing
        assert names == EXPECTED
    else:
        assert names[0] == "/head/MatMul"


def test_units_of_one_module_are_told_apart() -> None:
    """Two layers in one recorded module get a number, in the order of the nodes."""
    proto = models.mlp()
    for found in proto.graph.node:
        found.metadata_props.add(key=SCOPES, value="['', 'block', 'linear']")
    assert [unit.name for unit in parameter_units(explainsvc.load(proto))] == ["block#3", "block#2", "block"]
