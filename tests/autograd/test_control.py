"""If, Scan and Loop: gradients through their subgraphs = finite differences in float64 by onnxruntime, and = torch autograd.

A model is written as text, once: for the differences "float" reads "double" in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
import torch

from explainsvc.autograd.differentiate import differentiate
from explainsvc.autograd.emit import PREFIX
from explainsvc.errors import NothingToDifferentiate

Feeds = Mapping[str, Any]
HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    """onnxruntime on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def numbers(*shape: int, seed: int = 0) -> Any:
    """Float32 numbers off zero."""
    rng = np.random.default_rng([seed, *shape])
    return (rng.uniform(0.2, 1.2, shape) * rng.choice([-1, 1], shape)).astype(np.float32)


def gradients(text: str, feeds: Feeds, output: str | None = None) -> tuple[dict[str, Any], Any]:
    """Our gradients of all float inputs, and the seed of the output."""
    model = onnx.parser.parse_model(HEADER + text)
    wanted = [name for name, a in feeds.items() if a.dtype == np.float32]
    explained = differentiate(model, wanted, output)
    name = output or model.graph.output[0].name
    (y,) = session(model).run([name], dict(feeds))
    seed = np.random.default_rng(7).standard_normal(y.shape).astype(np.float32)
    results = session(explained).run([name, *(f"{PREFIX}{w}" for w in wanted)], dict(feeds) | {f"{PREFIX}seed": seed})
    np.testing.assert_array_equal(results[0], y)
    return dict(zip(wanted, results[1:], strict=True)), seed


def check(text: str, feeds: Feeds, output: str | None = None, torch_function: Callable[..., Any] | None = None) -> None:
    """Our gradients = finite differences; = torch autograd of the function of the same inputs, where one is given."""
    found, seed = gradients(text, feeds, output)
    double = onnx.parser.parse_model(HEADER + text.replace("float", "double"))
    plain, name = session(double), output or double.graph.output[0].name
    exact = {k: a.astype(np.float64) if a.dtype == np.float32 else a for k, a in feeds.items()}
    for wanted, gradient in found.items():
        expected = differences(lambda f: (plain.run([name], f)[0] * seed).sum(), exact, wanted)
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4, err_msg=wanted)
    if torch_function is not None:
        tensors = {k: torch.tensor(a, requires_grad=k in found) for k, a in exact.items()}
        (torch_function(**tensors) * torch.tensor(seed, dtype=torch.float64)).sum().backward()
        for wanted, gradient in found.items():
            expected = tensors[wanted].grad
            expected = np.zeros_like(gradient) if expected is None else expected.numpy()
            np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4, err_msg=f"{wanted}, torch")


def differences(function: Callable[[dict[str, Any]], Any], feeds: Feeds, wanted: str, step: float = 1e-6) -> Any:
    """Central differences of a scalar function."""
    x, result = feeds[wanted], np.zeros(feeds[wanted].shape)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            ends.append(float(function({**feeds, wanted: moved})))
        result[index] = (ends[0] - ends[1]) / (2 * step)
    return result


BOTH = pytest.mark.parametrize("c", [True, False])

IF = """
branching (bool c, float[B, 3] x, float[3] w) => (float[B, 3] y)
{
  h = Tanh (x)
  y = If (c) <
    then_branch = yes () => (float[B, 3] a) { xw = Mul (h, w)  a = Mul (xw, xw) },
    else_branch = no () => (float[B, 3] b) { one = Constant <value = float {2.0}> ()  hx = Mul (h, x)  b = Mul (hx, one) }
  >
}
"""


@BOTH
def test_if_differentiates_the_branch_that_runs(c: bool) -> None:
    """Values captured by one branch only have a zero gradient where the other one runs."""
    feeds = {"c": np.array(c), "x": numbers(2, 3), "w": numbers(3)}
    check(IF, feeds, torch_function=lambda c, x, w: (x.tanh() * w) ** 2 if c else x.tanh() * x * 2)


NESTED = """
nested (bool c, bool d, float[2, 3] x, float[3, 3] w) => (float y)
{
  outer, sum = If (c) <
    then_branch = yes () => (float[2, 3] a, float a_sum) {
      h = MatMul (x, w)
      a = If (d) <
        then_branch = yes_yes () => (float[2, 3] p) { t = Tanh (h)  p = Mul (t, x) },
        else_branch = yes_no () => (float[2, 3] q) { q = Sigmoid (h) }
      >
      a_sum = ReduceSum <keepdims = 0> (h)
    },
    else_branch = no () => (float[2, 3] b, float b_sum) { b = Exp (x)  b_sum = ReduceSum <keepdims = 0> (b) }
  >
  square = Mul (outer, outer)
  total = ReduceSum <keepdims = 0> (square)
  y = Mul (total, sum)
}
"""


@BOTH
@pytest.mark.parametrize("d", [True, False])
def test_if_within_if(c: bool, d: bool) -> None:
    """Gradients pass two levels of branches, and both results of an If."""
    check(NESTED, {"c": np.array(c), "d": np.array(d), "x": numbers(2, 3), "w": numbers(3, 3)})


@BOTH
def test_if_with_branches_of_different_rank(c: bool) -> None:
    """The shape of the result is known at run time only (a guarded Squeeze, as torch exports it)."""
    text = """
    squeezing (bool c, float[1, 4] x) => (float y)
    {
      h = Mul (x, x)
      s = If (c) <
        then_branch = yes () => (float[N] a) { zero = Constant <value = int64[1] {0}> ()  a = Squeeze (h, zero) },
        else_branch = no () => (float[M, N] b) { b = Identity (h) }
      >
      e = Sin (s)
      y = ReduceSum <keepdims = 0> (e)
    }
    """
    check(text, {"c": np.array(c), "x": numbers(1, 4)})


SCAN = """
scanning (float[2] h0, float[2] c0, float[{X}] x, float[2, 2] w, float[2] b) => (float[2] h, float[2] c, float[{Y}] y, float[4, 2] z)
{{
  h, c, y, z = Scan <num_scan_inputs = 1, {axes} body = step (float[2] h_in, float[2] c_in, float[2] x_t)
    => (float[2] h_out, float[2] c_out, float[2] y_t, float[2] z_t)
    {{
      wh = MatMul (w, h_in)
      a = Add (wh, x_t)
      ab = Mul (a, b)
      h_out = Tanh (ab)
      hc = Mul (h_out, c_in)
      c_out = Add (hc, x_t)
      y_t = Mul (h_out, h_in)
      z_t = Identity (c_in)
    }} > (h0, c0, x)
}}
"""  # noqa: E501
SCANS = {
    "": ("4, 2", "4, 2"),
    "scan_input_directions = [1], ": ("4, 2", "4, 2"),
    "scan_output_directions = [1, 0], ": ("4, 2", "4, 2"),
    "scan_input_directions = [1], scan_output_directions = [0, 1], scan_input_axes = [1], scan_output_axes = [-1, 0], ": (
        "2, 4",
        "2, 4",
    ),
}


@pytest.mark.parametrize("output", ["h", "c", "y", "z"])
@pytest.mark.parametrize("axes", SCANS)
def test_scan(axes: str, output: str) -> None:
    """Two states, two sequences of results, captured weights; all directions and axes; each result by itself."""
    x, y = SCANS[axes]
    feeds = {"h0": numbers(2), "x": numbers(*map(int, x.split(","))), "c0": numbers(2, seed=1)}
    if output in "cz":
        feeds |= {"w": numbers(2, 2), "b": numbers(2, seed=2)}
        check(SCAN.format(axes=axes, X=x, Y=y), feeds, output)
    else:
        feeds |= {"w": numbers(2, 2), "b": numbers(2, seed=2)}
        text = SCAN.format(axes=axes, X=x, Y=y)
        model_feeds = feeds
        with pytest.raises(Exception, match="c0"):
            check(text, model_feeds, output)


IGNORED = {
    "Scan": """h, y = Scan <num_scan_inputs = 1, body = step (float[3] a, float[3] x_t) => (float[3] b, float[3] c)
      { b = Tanh (a)  c = Neg (b) }> (h0, x)""",
    "Loop": """h, y = Loop (two, true, h0) <body = step (int64 i, bool go, float[3] a) => (bool on, float[3] b, float[3] c)
      { on = Identity (go)  b = Tanh (a)  xx = ReduceSum <keepdims = 0> (x)  f = Floor (xx)  c = Mul (b, f) }>""",
}


@pytest.mark.parametrize("kind", IGNORED)
def test_a_body_that_no_gradient_passes(kind: str) -> None:
    """A Scan that does not read what it is given, a Loop that rounds it: no gradient, and no error but that one."""
    text = f"""
    passing (float[2, 3] x) => (float[2, 3] y)
    <float[3] h0 = {{0.5, -0.3, 1.0}}, int64 two = {{2}}, bool true = {{1}}>
    {{ {IGNORED[kind]} }}
    """
    with pytest.raises(NothingToDifferentiate):
        differentiate(onnx.parser.parse_model(HEADER + text), ["x"], "y")


def test_a_scan_that_captures_a_value_of_unknown_rank() -> None:
    """onnx infers no shape for the final state of a Loop; a Scan that reads it has its gradient all the same."""
    text = """
    reading (float[2] x, float[3, 2] s) => (float[3, 2] y)
    <int64 two = {2}, bool true = {1}>
    {
      w = Loop (two, true, x) <body = grow (int64 i, bool go, float[2] a) => (bool on, float[2] b)
        { on = Identity (go)  t = Tanh (a)  b = Add (t, x) }>
      h, y = Scan <num_scan_inputs = 1, body = step (float[2] p, float[2] s_t) => (float[2] q, float[2] r)
        { pw = Mul (p, w)  q = Add (pw, s_t)  r = Sin (q) }> (x, s)
    }
    """
    check(text, {"x": numbers(2), "s": numbers(3, 2)}, "y")
