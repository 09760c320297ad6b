"""What a node is to the model, where its operator does not say: a product of attention, a residual sum, a dense layer.

A role is text in the node's metadata: it survives copies of the graph and files. Rule tables ask :func:`role`.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

import onnx_ir as ir

Role = Literal[
    "attention.scores", "attention.mask", "attention.softmax", "attention.values", "residual", "linear", "linear.bias",
    "activation", "gate",
]  # fmt: skip
"""What a node may be:

- ``attention.scores``, ``.mask``, ``.softmax``, ``.values``: the product of queries and keys, what is added to it or put in
  its place before the softmax, the weights, and their product with the values (Vaswani et al. 2017, eq. 1);
- ``residual``: the sum of x (or a projection of it) and F(x), F a function with learned layers (He et al. 2016, eq. 1 and 2);
- ``linear``, ``linear.bias``: a dense layer as Gemm, MatMul, Einsum or 1×1 Conv between Transposes, and the Add of its bias;
- ``activation``, ``gate``: an activation function x·g(x) that no pass could make one operator (SiLU below opset 24): its last
  node, and those that make g(x).
"""
ROLES: frozenset[str] = frozenset(get_args(Role))
KEY = "explainsvc.role"


def role(node: ir.Node) -> Role | None:
    """The role of a node; None where it has none."""
    text = node.metadata_props.get(KEY)
    return cast(Role, text) if text in ROLES else None


def set_role(node: ir.Node, value: Role | None) -> None:
    """Gives a node a role, or takes it away."""
    if value is None:
        node.metadata_props.pop(KEY, None)
    else:
        node.metadata_props[KEY] = value
