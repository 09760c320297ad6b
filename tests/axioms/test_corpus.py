"""The axioms of sums on models that other people exported: what is claimed and reported, against plain onnxruntime outputs."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import explainsvc
from explainsvc.attribution import Attribution
from explainsvc.errors import ExplainsvcError
from explainsvc.ledger import ledger
from explainsvc.methods import METHODS
from explainsvc.methods._deeplift import NOTICED
from explainsvc.rules.lrp import ACTIVATION, ROUTING
from explainsvc.target import ResolvedTarget
from tests.methods.little import little
from tests.models import Array
from tests.test_corpus import FOLDERS, GOOD, advises, case, folders

pytestmark = [pytest.mark.skipif(not FOLDERS, reason="the shared corpus is not beside this checkout"), pytest.mark.slow]

COMPLETE = [name for name, method in METHODS.items() if "completeness" in method.card.axioms]
CHEAP = {"integrated_gradients", "deeplift", "deep_shap"}
"""One pass or a few: for inputs of many elements."""
MANY = 40_000
Feeds = dict[str, Array]
Target = dict[str, Any]


@cache
def loaded(folder: Path) -> explainsvc.Model:
    """The model, once."""
    return explainsvc.load(folder / "model.onnx")


@cache
def session(folder: Path, output: str) -> ort.InferenceSession:
    """The file in onnxruntime with one output: one of its own, or a value inside."""
    proto = onnx.load(folder / "model.onnx")
    if output not in [o.name for o in proto.graph.output]:
        del proto.graph.output[:]
        proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
        return ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def sample(folder: Path) -> Feeds:
    """The first sample, numbers without axes as arrays."""
    return {name: np.asarray(a) for name, a in case(folder)[0].items()}


def large(feeds: Feeds) -> bool:
    """Whether a method of many forwards would take long."""
    return sum(a.size for a in feeds.values()) > MANY


def explained_output(folder: Path, feeds: Feeds) -> Target | None:
    """The first float output and a seed that is 1 at its largest element; None where all outputs are labels or maps."""
    for output in loaded(folder).outputs:
        value = loaded(folder).predict(feeds)[output.name]
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            seed = np.zeros(value.shape, value.dtype)
            seed.flat[int(np.argmax(value))] = 1
            return {"output": output.name, "seed": seed}
    return None


def value(folder: Path, feeds: Feeds, target: ResolvedTarget) -> float:
    """S by onnxruntime on the file, or on one that ends at a value inside."""
    (found,) = session(folder, target.output).run([target.output], feeds)
    table = [list(row.values()) for row in found] if isinstance(found, list) else found  # a ZipMap gives maps by class
    return float((np.asarray(table, np.float64) * target.seed).sum())


def parameters(method: str, feeds: Feeds, model: explainsvc.Model) -> dict[str, Any]:
    """A few repetitions, and four features where a method has them."""
    chosen = little(method, feeds, model)
    if method == "partition_shap":
        chosen["feature_mask"] = little("exact_shap", feeds, model)["feature_mask"]
    return chosen


def by_features(values: Feeds, masks: Any) -> float:
    """Σ over features of their values, every element of a feature showing all of it; without masks over elements."""
    if masks is None:
        return float(sum(v.sum(dtype=np.float64) for v in values.values()))
    numbers = np.concatenate([np.broadcast_to(masks[n], v.shape).reshape(-1) for n, v in values.items()])
    shown = np.concatenate([v.astype(np.float64).reshape(-1) for v in values.values()])
    return float(shown[np.unique(numbers, return_index=True)[1]].sum())


def at_baseline(folder: Path, feeds: Feeds, found: Attribution, rows: Any) -> float:
    """S at zeros in place of the explained inputs, or its mean over rows of them; blur_ig's is made of x."""
    if found.method == "blur_ig":
        assert found.baseline_value is not None
        return float(found.baseline_value.sum())
    if rows is None:
        return value(folder, feeds | {n: np.zeros_like(feeds[n]) for n in found.values}, found.target)
    mixed = [{n: rows[n][k].reshape(feeds[n].shape) for n in found.values} for k in range(len(next(iter(rows.values()))))]
    return float(np.mean([value(folder, feeds | each, found.target) for each in mixed]))


def wrong_sum(folder: Path, feeds: Feeds, found: Attribution, chosen: dict[str, Any]) -> str:
    """What is wrong with the sum of one explanation; "" where nothing is."""
    assert found.residual is not None
    at_x, start = value(folder, feeds, found.target), at_baseline(folder, feeds, found, chosen.get("background"))
    total, residual = by_features(found.values, chosen.get("feature_mask")), float(found.residual.sum())
    size = abs(at_x) + abs(start) + float(sum(np.abs(v).sum(dtype=np.float64) for v in found.values.values()))
    rounding = (1e-2 if any(a.dtype == np.float16 for a in feeds.values()) else 1e-5) * size
    if not abs(residual - (total - (at_x - start))) <= rounding:
        return f"{found.method}: residual {residual:.6g}, but {total:.6g} is held against {at_x:.6g} − {start:.6g}"
    exact = METHODS[found.method].card.axioms["completeness"] == "exact"
    allowed = rounding + (NOTICED * abs(at_x - start) if found.method.startswith("deep") else 0)
    silent = exact and abs(residual) > allowed and not found.caveats
    return f"{found.method}: {residual:.3g} of {at_x - start:.3g} is missing, and no caveat says so" if silent else ""


APPLIED: Counter[str] = Counter()


def target_of(method: str, folder: Path, feeds: Feeds) -> Target | None:
    """What is explained: an output; for linear_shap what deeplift starts from, before a Softmax; None is the default."""
    if method == "tree_shap":
        return None
    if method != "linear_shap":
        return explained_output(folder, feeds)
    resolved = loaded(folder).explain(feeds, "deeplift").target
    return {"output": resolved.output, "seed": resolved.seed}


def asked(folder: Path, feeds: Feeds, method: str) -> str:
    """What is wrong with one method on one model; "" where nothing is, a refusal with advice included."""
    chosen = parameters(method, feeds, loaded(folder))
    try:
        found = loaded(folder).explain(feeds, method, target_of(method, folder, feeds), **chosen)
    except ExplainsvcError as error:
        advises(error)
        return ""
    APPLIED[method] += 1
    return wrong_sum(folder, feeds, found, chosen)


@folders(GOOD)
def test_the_sum_is_what_is_claimed_and_reported(folder: Path) -> None:
    """The residual is Σ values − (S(x) − S(x′)) by onnxruntime; where completeness is exact it is rounding, or a caveat."""
    feeds = sample(folder)
    methods = [method for method in COMPLETE if method in CHEAP or not large(feeds)]
    assert not [wrong for method in methods if (wrong := asked(folder, feeds, method))]


@pytest.mark.parametrize("method", sorted(set(COMPLETE) - {"max_shap"}))
def test_each_method_has_a_model(method: str) -> None:
    """The test before is about something: every method applies to one of the models, but max_shap, for which there is none."""
    for folder in sorted(GOOD, key=lambda folder: (folder / "model.onnx").stat().st_size):
        feeds = sample(folder)
        if method in CHEAP or not large(feeds):
            assert asked(folder, feeds, method) == ""
        if APPLIED[method]:
            return
    pytest.fail("it was refused by every model")


@folders(GOOD)
def test_integrated_gradients_meets_its_tolerance_or_says_so(folder: Path) -> None:
    """|residual| ≤ 0.01 |S(x) − S(x′)|, or the caveat; of inputs of up to a thousand elements."""
    feeds = sample(folder)
    target = explained_output(folder, feeds)
    if target is None or sum(a.size for a in feeds.values()) > 1000:
        pytest.skip("no float output, or a large input")
    try:
        found = loaded(folder).explain(feeds, "integrated_gradients", target, tolerance=0.01, batch_size=64)
    except ExplainsvcError as error:
        pytest.skip(f"refused: {error.REASON}")
    assert found.baseline_value is not None
    assert found.residual is not None
    met = np.abs(found.residual) <= 0.01 * np.abs(found.output_value - found.baseline_value) + 1e-12
    assert met.all() != any("was not met" in caveat for caveat in found.caveats)


# Conservation -----------------------------------------------------------------------------------------------------------

RULES = ("lrp_0", "lrp_epsilon", "lrp_z_plus", "lrp_alpha_beta", "lrp_gamma")


@folders(GOOD)
def test_every_node_is_balanced(folder: Path) -> None:
    """Each value hands on what it got; activations and moves lose nothing; inputs, biases and losses make up S."""
    feeds, model = sample(folder), loaded(folder)
    kept = 0
    for method in RULES[1:3] if large(feeds) else RULES:
        try:
            found = model.explain(feeds, method)
            books = ledger(model, feeds, method)
        except ExplainsvcError as error:
            advises(error)
            continue
        kept += 1
        received = [abs(account.received) for account in books.accounts]
        stake = max(sum(float(np.abs(v).sum(dtype=np.float64)) for v in found.values.values()), *received)
        atol = 1e-4 * stake
        np.testing.assert_allclose(books.start, found.output_value.sum(), rtol=1e-3)
        for account in books.accounts:
            np.testing.assert_allclose(account.received, sum(books.values[v] for v in account.results), atol=atol)
            if account.operator in ACTIVATION | ROUTING:
                np.testing.assert_allclose(account.rest, 0, atol=atol, err_msg=str(account))
        got = sum(books.values.get(n, 0.0) for n in found.values)
        np.testing.assert_allclose(got, sum(v.sum(dtype=np.float64) for v in found.values.values()), atol=atol)
        np.testing.assert_allclose(books.start, got + sum(a.bias + a.rest for a in books.accounts), atol=atol)
    if not kept:
        pytest.skip("LRP does not apply")


PIECEWISE = frozenset({"Relu", "LeakyRelu", "PRelu"})


@folders(GOOD)
def test_lrp_0_is_gradient_times_input_on_relu_networks(folder: Path) -> None:
    """Where all activations are ReLUs and biases count: the same map, up to the stabilizer of sums."""
    feeds, model = sample(folder), loaded(folder)
    operators = {node.op_type for node in model.graph}
    if operators & ACTIVATION - PIECEWISE or not operators & PIECEWISE:
        pytest.skip("no ReLU network")
    try:
        zero = model.explain(feeds, "lrp_0")
    except ExplainsvcError as error:
        pytest.skip(f"refused: {error.REASON}")
    slope = model.explain(feeds, "input_x_gradient", {"output": zero.target.output, "seed": zero.target.seed})
    for name, values in slope.values.items():
        np.testing.assert_allclose(zero.values[name], values, rtol=0, atol=1e-3 * float(np.abs(values).max()) + 1e-12)
