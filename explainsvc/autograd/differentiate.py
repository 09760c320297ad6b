"""A model and its backward pass as one graph, without any method: for tests, and for users who want only that."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from explainsvc.autograd.backward import Rulebook, backward, gradient_rulebook
from explainsvc.autograd.emit import PREFIX, Emitter
from explainsvc.autograd.functions import expand_functions
from explainsvc.errors import NothingToDifferentiate


def differentiate(
    proto: onnx.ModelProto, wanted: Sequence[str], output: str | None = None, rulebook: Rulebook = gradient_rulebook
) -> onnx.ModelProto:
    """``proto`` (opset ≥ 18, shapes inferred here) with the input ``explain.seed`` and the outputs ``explain.<input>``.

    Args:
        proto: Any model; not changed.
        wanted: Names of float inputs.
        output: Name of the output that the seed weighs; the first one by default.
        rulebook: Replaces vjp rules at the nodes that it names.

    Raises:
        NotDifferentiable: A node on the way has no rule.
        NothingToDifferentiate: The output does not depend on a wanted input through float values.
    """
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))
    expand_functions(model)
    graph = model.graph
    emit = Emitter(graph)
    target = next(v for v in graph.outputs if output is None or v.name == output)
    values = [v for v in graph.inputs if v.name in wanted]
    seed = emit.input(f"{PREFIX}seed", target)
    found = backward(emit, {target: seed}, values, rulebook)
    for value in values:
        if value not in found:
            raise NothingToDifferentiate(f'no gradient reaches "{value.name}"', where=f'output "{target.name}"')
        emit.output(f"{PREFIX}{value.name}", found[value])
    return ir.to_proto(model)
