"""One drawn graph through the public path, held against differences in double precision."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import explainsvc
from explainsvc.errors import InvalidInput, ModelMalformed, ModelUnsupported, NotDifferentiable, NothingToDifferentiate
from explainsvc.model import Model
from tests.fuzz.dress import dressed
from tests.fuzz.graphs import Drawn
from tests.fuzz.truth import Kinked, NoTruth, differences, in_double, steps_of

RTOL, ATOL = 5e-4, 5e-5
"""Of our float32 gradient: relative, and relative to the largest derivative of the input."""
FORWARD = 1e-5
ZERO = 1e-6
IN_FLOAT, IN_DOUBLE = "compared in float32", "compared in double"


@dataclass
class Tally:
    """What came of the graphs so far: per graph (compared or why not), per input (what the comparison was)."""

    graphs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    inputs: Counter[str] = field(default_factory=Counter)
    without_truth: Counter[str] = field(default_factory=Counter)
    passes: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0

    @property
    def seen(self) -> int:
        """Graphs that came to an end."""
        return self.outcomes.total()

    @property
    def compared(self) -> int:
        """Graphs of which gradients were compared."""
        return self.outcomes[IN_FLOAT] + self.outcomes[IN_DOUBLE]

    def told(self) -> str:
        """For people."""
        lines = [f"graphs: {_list(self.outcomes)}", f"inputs: {_list(self.inputs)}"]
        lines += [f"largest error: {self.worst:.2g} of what is allowed"]
        lines += [f"without truth: {_list(self.without_truth)}"] if self.without_truth else []
        lines += [f"passes that did not apply: {_list(self.passes)}"] if self.passes else []
        return "\n".join([*lines, f"operators ({len(self.operators)}): {_list(self.operators)}"])


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def check(drawn: Drawn, tally: Tally) -> None:
    """Our gradient of every input is that of differences; what we refuse has none."""
    try:
        weights, truth = expected(drawn)
        model, feeds, precise = loaded(drawn)
        model.predict(feeds)
    except NoTruth as error:
        tally.without_truth[str(error)[:160]] += 1
        tally.outcomes["without truth"] += 1
    except Kinked:
        tally.outcomes["not smooth there"] += 1
    except InvalidInput:
        # onnxruntime 1.32 folds the Shape of a pool with ceil_mode by onnx's inference, which counts one window too many
        # before opset 22
        tally.outcomes["onnxruntime fails"] += 1
    else:
        target = {"output": drawn.target, "seed": weights.astype(next(iter(feeds.values())).dtype)}
        found = gradients(model, feeds, target)
        tally.outcomes[IN_DOUBLE if precise < 1 else IN_FLOAT] += 1
        tally.operators.update({node.op_type for node in drawn.proto.graph.node})
        tally.passes.update(f"{p.name}: {p.note}" for p in model.prepared.passes if not p.applied and p.note)
        for name, gradient in truth.items():
            if name in found:
                tally.worst = max(tally.worst, compare(name, found[name], gradient, precise))
                tally.inputs["equal" if np.abs(gradient).max() > ZERO else "equal, zero"] += 1
            else:
                refused = f"{name!r} is refused: {refusal(model, feeds, target, name)}\nand has the gradient {gradient}"
                assert np.abs(gradient).max() < ZERO, refused
                tally.inputs["no gradient, rightly"] += 1
        if found:
            same_forward(model, feeds, target, found)


def expected(drawn: Drawn) -> tuple[Any, dict[str, Any]]:
    """The weights of the explained output, and the gradients by differences."""
    steps, values = steps_of(drawn)
    weights = np.random.default_rng(drawn.seed).standard_normal(values[drawn.target].shape)
    weights = np.asarray(weights, np.float32)
    return weights, {name: differences(steps, values, name, drawn.target, weights) for name in drawn.feeds}


def loaded(drawn: Drawn) -> tuple[Model, dict[str, Any], float]:
    """The model, its feeds, and how much more exact than float32 it is."""

    def dress(proto: onnx.ModelProto) -> onnx.ModelProto:
        return dressed(proto, np.random.default_rng(drawn.seed))

    if drawn.double:
        try:
            model, feeds = (
                explainsvc.load(dress(in_double(drawn.proto, drawn.kept))),
                {n: a.astype(np.float64) for n, a in drawn.feeds.items()},
            )
            model.predict(feeds)
            model.compile("gradient", {"output": drawn.target})
            return model, feeds, 1e-3
        except (ModelMalformed, ModelUnsupported, InvalidInput):
            # onnxruntime loads an LSTM in double and refuses to run it; it runs a Softplus in double by its body in opset 18
            # and not in 21; and the statistics of LayerNormalization are always float32
            pass
        except (NotDifferentiable, NothingToDifferentiate):
            return model, feeds, 1e-3
    return explainsvc.load(dress(drawn.proto)), drawn.feeds, 1.0


def compare(name: str, found: Any, expected: Any, precise: float) -> float:
    """The largest error as a part of what is allowed."""
    allowed = precise * (ATOL * max(1.0, float(np.abs(expected).max())) + RTOL * np.abs(expected))
    error = np.abs(found - expected) / allowed
    assert found.shape == expected.shape
    assert error.max() <= 1, f"{name!r}:\nfound {found}\nexpected {expected}"
    return float(error.max())


def gradients(model: Model, feeds: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """By the public path; input by input where it refuses one of them."""
    refused = (NotDifferentiable, NothingToDifferentiate)
    try:
        return dict(model.explain(feeds, method="gradient", target=target).values)
    except refused:
        found: dict[str, Any] = {}
        for name in feeds:
            try:
                found |= model.explain(feeds, method="gradient", target=target, inputs=[name]).values
            except refused:
                continue
        return found


def refusal(model: Model, feeds: dict[str, Any], target: dict[str, Any], name: str) -> str:
    """In the library's words."""
    try:
        model.explain(feeds, method="gradient", target=target, inputs=[name])
    except (NotDifferentiable, NothingToDifferentiate) as error:
        return str(error)
    return "not by itself"


def same_forward(model: Model, feeds: dict[str, Any], target: dict[str, Any], found: dict[str, Any]) -> None:
    """The compiled file gives the model's outputs to rounding, and the same gradients."""
    compiled = model.compile("gradient", {"output": target["output"]}, inputs=list(found)).proto
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(compiled.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    seed = next(i.name for i in session.get_inputs() if i.name not in feeds)
    results = dict(zip(names, session.run(names, feeds | {seed: target["seed"]}), strict=True))
    for name, expected in model.predict(feeds).items():
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(results[name], expected, rtol=FORWARD, atol=FORWARD * scale, err_msg=name)
    for name, expected in found.items():
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(results[f"{seed.removesuffix('seed')}{name}"], expected, rtol=1e-4, atol=1e-5 * scale)
