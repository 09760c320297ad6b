"""Explanations by torch on the converted graph: a second engine, with kernels, derivatives and a walk that are not ours.

Which node gets which rule is read from the method's dry run; what a rule computes is written here once more, as its paper says,
with torch autograd for the products with the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from explainsvc.autograd.shapes import Array
from explainsvc.dry_run import NodeRule
from explainsvc.errors import MethodNotApplicable
from explainsvc.training.prepared import Converted, converted

if TYPE_CHECKING:
    from explainsvc.check import Explained
    from explainsvc.model import Model

RECOMPUTED = ("gradient", "guided_backprop", "lrp_epsilon")
STABILIZER = 1e-6
"""ε of the z-rule at sums and average pooling."""

Tensor = torch.Tensor
Rule = Callable[[Sequence[Tensor], Tensor, Tensor], Sequence[Tensor | None]]
"""(operands, result, relevance of the result) → that of each operand; operands and result have their history for autograd."""


# Rules --------------------------------------------------------------------------------------------------------------


def guided_relu(_operands: Sequence[Tensor], y: Tensor, r: Tensor) -> Sequence[Tensor | None]:
    """R⁺ ⊙ 1[z > 0] (Springenberg et al. 2015, arXiv:1412.6806, figure 1b)."""
    return [r.clamp(min=0) * (y > 0)]


def guided_relu6(operands: Sequence[Tensor], y: Tensor, r: Tensor) -> Sequence[Tensor | None]:
    """The same at a rectifier with an upper end: nothing passes there."""
    (passes,) = torch.autograd.grad(y.sum(), operands[:1])
    return [r.clamp(min=0) * (y > 0) * passes, *(None for _ in operands[1:])]


def epsilon(operands: Sequence[Tensor], z: Tensor, r: Tensor, size: float) -> Sequence[Tensor | None]:
    """a_i Σ_j w_ij R_j / (z_j + ε sign z_j), sign(0) = 1 (Bach et al. 2015, equation 58)."""
    s = r / torch.where(z >= 0, z + size, z - size)
    floats = [a for a in operands if a.requires_grad]
    back = iter(torch.autograd.grad(z, floats, s.detach()))
    return [a * next(back) if a.requires_grad else None for a in operands]


def pass_through(operands: Sequence[Tensor], _y: Tensor, r: Tensor) -> Sequence[Tensor | None]:
    """The relevance of a neuron is that of its pre-activation."""
    return [r, *(None for _ in operands[1:])]


def rule_of(node: NodeRule) -> Rule | None:
    """The rule of a node by its name; None for its derivative.

    Raises:
        MethodNotApplicable: The rule was not written here.
    """
    name, parameters = node.rule, node.parameters
    if name in ("vjp", "route", "stop"):
        return None
    if name == "guided_relu":
        return guided_relu if node.operator == "Relu" else guided_relu6
    if name == "pass_through":
        return pass_through
    if name == "lrp_epsilon" and parameters["bias"] == "counted":
        return partial(epsilon, size=float(parameters["epsilon"]))
    if name == "share" and parameters["bias"] == "counted":
        return pass_through_scaled if node.operator in ("Mul", "Div") else partial(epsilon, size=STABILIZER)
    raise MethodNotApplicable(
        f"the second engine has no {name} ({', '.join(f'{k} = {v}' for k, v in parameters.items())}) at {node.operator}",
        where=f'node "{node.name}"',
        expected=f"{', '.join(RECOMPUTED)} with biases counted",
    )


def pass_through_scaled(operands: Sequence[Tensor], _y: Tensor, r: Tensor) -> Sequence[Tensor | None]:
    """Scaling by a constant: the operand that leads to the input has all relevance; the other's is asked of nobody."""
    return [r.sum_to_size(a.shape) if a.requires_grad else None for a in operands]


class Ruled(torch.autograd.Function):
    """A node whose backward pass is a rule instead of its derivative."""

    @staticmethod
    def forward(ctx: Any, operator: torch.nn.Module, rule: Rule, *operands: Tensor) -> Tensor:
        """The node's own result."""
        with torch.enable_grad():
            ctx.operands = [a.detach().requires_grad_(a.is_floating_point()) for a in operands]
            ctx.result, ctx.rule = operator(*ctx.operands), rule
        found: Tensor = ctx.result.detach()
        return found

    @staticmethod
    def backward(ctx: Any, *r: Tensor) -> Any:
        """The relevance of the operands."""
        with torch.enable_grad():
            found = ctx.rule(ctx.operands, ctx.result, r[0])
        return (None, None, *(None if f is None else f.detach() for f in found))


# The walk -----------------------------------------------------------------------------------------------------------


class Walk(fx.Interpreter):
    """The forward pass, node by node: some nodes have rules, and every value is kept under its name in the ONNX graph."""

    def __init__(self, graph: Converted, rules: Mapping[str, Rule]) -> None:
        super().__init__(graph.module)
        self._rules, self._names = rules, graph.names
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Its result."""
        if n.op != "call_module":
            return super().run_node(n)
        operator: Any = self.fetch_attr(str(n.target))
        names = [self._names.get(own, "") for own in operator.onnx_mapping.outputs]
        rule = self._rules.get(names[0])
        if rule is None:
            found = super().run_node(n)
        else:
            operands, options = self.fetch_args_kwargs_from_env(n)
            found = Ruled.apply(partial(operator, **options), rule, *operands)
        self.values.update(zip(names, found if isinstance(found, (tuple, list)) else [found], strict=False))
        return found


@dataclass(frozen=True)
class Told:
    """What torch found.

    Attributes:
        maps: [item, element], float64.
        values: The explained value, [item, element], float64.
    """

    maps: Array = field(repr=False)
    values: Array = field(repr=False)


@dataclass(frozen=True)
class SecondEngine:
    """A model's prepared graph in torch.

    Attributes:
        model: The model.
        graph: The graph, converted.
    """

    model: Model
    graph: Converted = field(repr=False)

    @classmethod
    def of(cls, model: Model) -> SecondEngine:
        """Of a model; NotTrainable where torch does not compute what it computes."""
        return cls(model, converted(model))

    def told(self, e: Explained, feeds: Mapping[str, Array], bits: int) -> Told:
        """What torch finds, item by item where the model has a batch axis.

        Args:
            e: What is recomputed: the method, its parameters, target and inputs.
            feeds: Of the model.
            bits: Of the floats that torch computes with: 32 or 64.

        Raises:
            MethodNotApplicable: The method is not recomputed, or a rule of it is not.
        """
        rules, kind = self._rules(e), {32: torch.float32, 64: torch.float64}[bits]
        given, batched = self.model.internal(feeds), self.model.batched(feeds) and e.target.seed.ndim > 0
        cuts = [slice(n, n + 1) for n in range(len(e.target.seed))] if batched else [slice(None)]
        self.graph.module.to(kind)
        question = Question(self.graph, rules, e, kind)
        parts = [question.answer({name: a[cut] for name, a in given.items()} if batched else given, cut) for cut in cuts]
        return Told(np.stack([part for part, _ in parts]), np.stack([value for _, value in parts]))

    def _rules(self, e: Explained) -> dict[str, Rule]:
        if e.name not in RECOMPUTED:
            raise MethodNotApplicable(f"{e.name} is not recomputed", where="second engine", expected=", ".join(RECOMPUTED))
        given = {"output": e.target.output}
        told = self.model.dry_run(e.name, given, inputs=e.wanted, **vars(e.params))
        rules = {node.results[0]: rule_of(node) for node in told.nodes}
        return {name: rule for name, rule in rules.items() if rule is not None}


@dataclass(frozen=True)
class Question:
    """A method on a converted graph; ``kind`` is the type that it computes in."""

    graph: Converted
    rules: Mapping[str, Rule]
    asked: Explained
    kind: torch.dtype

    def answer(self, feeds: Mapping[str, Array], cut: slice) -> tuple[Array, Array]:
        """The map and the explained value of these items, flat, float64."""
        target = self.asked.target
        tensors = {name: _tensor(array, self.kind) for name, array in feeds.items()}
        wanted = [tensors[name].requires_grad_() for name in self.asked.wanted]
        walk = Walk(self.graph, self.rules)
        walk.run(*(tensors[name] for name in self.graph.inputs))
        value = walk.values[target.output]
        seed = torch.from_numpy(np.array(target.seed[cut])).to(self.kind)
        relevance = seed * value.detach() if self.asked.name == "lrp_epsilon" else seed.expand_as(value)
        found = torch.autograd.grad(value, wanted, relevance, allow_unused=True, materialize_grads=True)
        return np.concatenate([_flat(part) for part in found]), _flat(value)


def _flat(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().double().numpy().reshape(-1))


def _tensor(array: Array, kind: torch.dtype) -> Tensor:
    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.to(kind) if found.is_floating_point() else found
