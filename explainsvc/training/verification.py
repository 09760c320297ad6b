"""A converted model held against onnxruntime; where they part, the operator that is to blame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import torch

from explainsvc.autograd.shapes import Array
from explainsvc.errors import ExplainsvcError, NotTrainable
from explainsvc.graph.passes import TOLERANCE, read
from explainsvc.graph.passes.precision import half_tolerance
from explainsvc.graph.probe import DTYPES, another, deviation
from explainsvc.model import Model
from explainsvc.runtime import Feeds, Session, new_session
from explainsvc.training.trainable import Trainable

WIDEST_ID = 100
"""Probe inputs have integers of 0 and 1: what they embed is nearly the same everywhere, and normalising it amplifies rounding."""


def verify(found: Trainable, model: Model) -> None:
    """Holds the graph against the model, the module against the graph, on two probe inputs; and asks whether gradients flow.

    The first difference may be what half precision rounds, the second 1e-4 of the largest output. Models of integers have
    a second try on other integers: two that compute different functions differ on those as well.

    Raises:
        NotTrainable: They differ by more, torch fails, or no learned tensor has a gradient.
    """
    session = new_session(found.graph.SerializeToString())
    zeros = _zeros(session, model)
    probes = another(zeros, 0)
    try:
        _hold(found, model, session, (probes, another(zeros, 1)))
    except NotTrainable:
        wide = [_wide(feeds, k) for k, feeds in enumerate((probes, another(zeros, 1)))]
        if not any(array.dtype.kind in "iu" for array in probes.values()) or not all(_runs(session, feeds) for feeds in wide):
            raise
        _hold(found, model, session, wide)
    _require_gradient(found, probes)


def _zeros(session: Session, model: Model) -> Feeds:
    """Inputs in the shapes on which the model's passes were verified, in the types that the graph takes."""
    shapes = model.prepared.probe
    if shapes is None:
        raise NotTrainable("it accepts no probe input, on which its conversion could be verified",
                           expected="inputs whose sizes are declared, or may be any")  # fmt: skip
    strange = [i.name for i in session.ort.get_inputs() if i.type not in DTYPES]
    if strange:
        raise NotTrainable(f"torch has no tensors of the type of its input {strange[0]!r}", expected="inputs of numbers")
    return {i.name: np.zeros(shapes[i.name], DTYPES[i.type]) for i in session.ort.get_inputs()}


def _wide(feeds: Feeds, seed: int) -> Feeds:
    """With integers from 0 to 99."""
    rng = np.random.default_rng([seed, WIDEST_ID])
    return {n: rng.integers(0, WIDEST_ID, a.shape).astype(a.dtype) if a.dtype.kind in "iu" else a for n, a in feeds.items()}


def _runs(session: Session, feeds: Feeds) -> bool:
    try:
        session.run(feeds)
    except Exception:  # noqa: BLE001  (onnxruntime's exception classes share no public base below Exception)
        return False
    return True


def _hold(found: Trainable, model: Model, session: Session, probes: Iterable[Feeds]) -> None:
    half = {i.name for i in model.inputs if i.dtype == "float16"}
    allowed = max(TOLERANCE, half_tolerance(read(model.proto)))
    for feeds in probes:
        try:
            truth = session.run(feeds)
            given = model.plain({n: a.astype(np.float16) if n in half else a for n, a in feeds.items()})
        except Exception as error:
            # onnxruntime's exception classes share no public base below Exception
            raise NotTrainable(
                f"onnxruntime does not take a probe input, on which its conversion could be verified: {short(error)}"
            ) from error
        deviates = deviation({n: a for n, a in given.items() if isinstance(a, np.ndarray)}, truth)
        if not deviates <= allowed:
            what = f"its form for training deviates by {deviates:.2g} of its largest output"
            raise NotTrainable(what, expected=f"at most {allowed:.2g}")
        _agree(found, feeds, truth)


def _agree(found: Trainable, feeds: Feeds, truth: Mapping[str, Array]) -> None:
    tensors = {name: torch.from_numpy(array.copy()) for name, array in feeds.items()}
    try:
        with torch.no_grad():
            computed = {name: value.numpy() for name, value in found(tensors).items()}
    except Exception as error:
        raise _failed(found, feeds, error) from error
    deviates = deviation(truth, computed)
    exact = [name for name, array in truth.items() if array.dtype.kind != "f"]
    if not deviates <= TOLERANCE or not all(np.array_equal(truth[name], computed[name]) for name in exact):
        raise _deviating(found, feeds, deviates)


def _require_gradient(found: Trainable, feeds: Feeds) -> None:
    with torch.enable_grad():
        values = found({name: torch.from_numpy(array.copy()) for name, array in feeds.items()}).values()
    if not any(value.requires_grad for value in values):
        raise NotTrainable("no output has a gradient in any of its weights", expected="a float output that depends on them")


def blaming(node: onnx.NodeProto, what: str) -> NotTrainable:
    """The refusal for one node."""
    named = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return NotTrainable(
        f"{named}: {what}", where=f'node "{node.name}"', expected="an operator that torch computes as onnxruntime does",
        to_do="Export the model with another operator there", details={"operator": named, "node": node.name},
    )  # fmt: skip


def short(error: BaseException) -> str:
    """The first line of what an error says, in this package's words where it is one of ours."""
    return error.what if isinstance(error, ExplainsvcError) else " ".join(str(error).split())[:200]


class _Recorder(torch.fx.Interpreter):
    """Runs a module node by node and keeps what each computed."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.extra_traceback = False
        self.results: dict[int, Any] = {}
        self.current: int | None = None

    def run_node(self, n: torch.fx.Node) -> Any:
        """The node's result, by its place in the ONNX graph: its module is ``n<place>``, perhaps behind a domain."""
        own = str(n.target).rpartition("/")[2]
        place = int(own[1:]) if n.op == "call_module" and own.startswith("n") else None
        self.current = place if place is not None else self.current
        found = super().run_node(n)
        if place is not None:
            self.results[place] = found
        return found


def _recorded(found: Trainable, feeds: Feeds) -> _Recorder:
    recorder = _Recorder(found.module)
    with torch.no_grad():
        try:
            recorder.run(*(torch.from_numpy(feeds[name].copy()) for name in found.inputs))
        except Exception:  # noqa: BLE001  (whatever torch raises: what was computed until then tells where)
            return recorder
    recorder.current = None
    return recorder


def _failed(found: Trainable, feeds: Feeds, error: Exception) -> NotTrainable:
    place = _recorded(found, feeds).current
    if place is None:
        return NotTrainable(f"torch does not run it: {short(error)}")
    return blaming(found.graph.graph.node[place], f"torch does not run it: {short(error)}")


def _deviating(found: Trainable, feeds: Feeds, deviates: float) -> NotTrainable:
    """Names the first node whose result is another than onnxruntime's."""
    results = dict(_first_results(found, _recorded(found, feeds).results))
    graph = onnx.ModelProto()
    graph.CopyFrom(found.graph)
    shown = {v.name for v in graph.graph.output}
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in results.keys() - shown)
    truth = new_session(graph.SerializeToString()).run(feeds, list(results))
    for k, node in enumerate(found.graph.graph.node):
        name = node.output[0]
        apart = deviation({name: truth[name]}, {name: results[name]}) if name in results else 0.0
        if not apart <= TOLERANCE:
            return blaming(found.graph.graph.node[k], f"its result in torch deviates by {apart:.2g} of its largest value")
    return NotTrainable(f"its outputs in torch deviate by {deviates:.2g} of the largest", expected=f"at most {TOLERANCE:.2g}")


def _first_results(found: Trainable, results: Mapping[int, Any]) -> Iterator[tuple[str, Array]]:
    for place, result in results.items():
        first = result if isinstance(result, torch.Tensor) else result[0]
        name = found.graph.graph.node[place].output[0]
        if name and isinstance(first, torch.Tensor):
            yield name, first.numpy()
