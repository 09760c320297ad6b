"""Passes: graph → graph that computes the same. Every one is verified on probe inputs against the untouched model.

The order matters: structure first (functions inlined, constants lifted), then real numbers instead of half precision
and quantised ones, then one modern opset, then the rewrites that differentiation and relevance rules rely on (norms and
activation functions in one operator, scales, biases and BatchNorm folded, MatMul+Add one Gemm). Passes that leave out
rounding have a tolerance of their own; what comes after is held against their result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.errors import ModelUnsupported
from explainsvc.graph.annotate import annotate_roles
from explainsvc.graph.filing import largest_first
from explainsvc.graph.later import simplified_to_rms
from explainsvc.graph.passes.activations import fuse_activations
from explainsvc.graph.passes.adapters import adapt_old_operators
from explainsvc.graph.passes.affine import fold_affine
from explainsvc.graph.passes.batch import open_batch
from explainsvc.graph.passes.batchnorm import fold_batchnorm
from explainsvc.graph.passes.constants import fold_constants, fold_shapes
from explainsvc.graph.passes.dequantize import dequantize, rounding_tolerance
from explainsvc.graph.passes.expand import expand_functions
from explainsvc.graph.passes.gemm import matmul_add_to_gemm
from explainsvc.graph.passes.groupnorm import fuse_groupnorm
from explainsvc.graph.passes.norms import fuse_norms
from explainsvc.graph.passes.opset import convert_opset
from explainsvc.graph.passes.precision import half_tolerance, upcast_half
from explainsvc.graph.passes.rectifiers import rectifiers_to_relu
from explainsvc.graph.passes.sequences import resolve_sequences
from explainsvc.graph.passes.shapes import infer_shapes
from explainsvc.graph.passes.structure import simplify_structure
from explainsvc.graph.passes.zipmap import tensor_outputs
from explainsvc.graph.probe import another, deviation, probe_inputs
from explainsvc.runtime import Feeds, Session, new_session

Pass = Callable[[ir.Model], bool]
"""Changes the model in place; True when it changed anything."""

TOLERANCE = 1e-4
"""Largest relative deviation of a pass in float32; rounding of a folded ResNet is about 1e-6."""


@dataclass(frozen=True)
class PassInfo:
    """What a pass did: its measured error is NaN where the model takes no probe input that we can guess."""

    name: str
    applied: bool
    error: float
    note: str = ""


@dataclass(frozen=True)
class Prepared:
    """The graph that is differentiated, and how it came about.

    Attributes:
        model: The graph.
        passes: What was done to get there.
        upcast: Whether it is the float32 twin of a model in half precision.
        dequantized: Whether it leaves out the rounding of a quantised model.
        tolerance: How far its outputs may be from the untouched model's for that, relative; 0 where no rounding was left out.
        opened: The batch size that the exporter fixed and that a pass has made symbolic.
        straight_through: Whether a quantised model keeps its rounding, which gradients pass straight through.
        probe: Input → shape of the probe input on which the passes were verified; None where no guess was accepted.
    """

    model: ir.Model
    passes: tuple[PassInfo, ...]
    upcast: bool
    dequantized: bool = False
    tolerance: float = 0.0
    opened: int | None = None
    straight_through: bool = False
    probe: Mapping[str, tuple[int, ...]] | None = None

    @property
    def caveats(self) -> tuple[str, ...]:
        """What holds for every explanation of this graph."""
        found = []
        if self.upcast:
            found.append("the model is in half precision; it was explained in float32")
        if self.dequantized:
            error = next(p.error for p in self.passes if p.name == "dequantize")
            rounding = "rounds too; gradients pass that straight through" if self.straight_through else "does not round"
            found.append(
                f"the model is quantised; it was explained through its dequantised twin, which saturates and {rounding} "
                f"(outputs differ by {error:.2g} of their largest magnitude on probe inputs; allowed: {self.tolerance:.2g})"
            )
        return tuple(found)


PASSES: tuple[tuple[str, Pass], ...] = (
    ("inline_functions_lift_constants", simplify_structure),
    ("upcast_half_to_float", upcast_half),
    ("dequantize", dequantize),
    ("adapt_old_operators", adapt_old_operators),
    ("convert_opset", convert_opset),
    ("simplified_to_rms", simplified_to_rms),
    ("resolve_sequences", resolve_sequences),
    ("expand_functions", expand_functions),
    ("fold_constants", fold_constants),
    ("fold_shapes", fold_shapes),
    ("fuse_norms", fuse_norms),
    ("fuse_groupnorm", fuse_groupnorm),
    ("fuse_activations", fuse_activations),
    ("rectifiers_to_relu", rectifiers_to_relu),
    ("fold_affine", fold_affine),
    ("fold_batchnorm", fold_batchnorm),
    ("matmul_add_to_gemm", matmul_add_to_gemm),
    ("open_batch", open_batch),
)
LEAVING_OUT_ROUNDING = frozenset({"upcast_half_to_float", "dequantize"})
"""Their result, the function without its rounding, is what later passes are held against."""
OPENING = "open_batch"
"""Also held against the model on several items, each alone."""


def read(proto: onnx.ModelProto) -> ir.Model:
    """The graph as onnx_ir has it; ModelUnsupported where it has no words for it."""
    try:
        return ir.from_proto(proto)
    except ir.serde.SerdeError as error:
        raise ModelUnsupported(
            f"onnx_ir cannot read it: {_first(error)}",
            expected="data types of tensors and sequences of them",
            to_do="Replace what is named here and export the model again",
        ) from error


def _first(error: BaseException) -> BaseException:
    """What the others were raised from."""
    return error if error.__cause__ is None else _first(error.__cause__)


def prepare(proto: onnx.ModelProto, plain: Session, straight_through: bool = False) -> Prepared:
    """Applies all passes; one that changes what the model computes on the probe inputs is taken back and reported.

    Args:
        proto: The model; not changed.
        plain: Its session.
        straight_through: Whether fixed quantisers of activations keep their rounding.
    """
    with quiet():
        tensors, changed = tensor_outputs(proto)
        original = model = read(tensors)
        probes = probe_inputs(plain)
        names = [v.name or "" for v in model.graph.outputs]
        truth = None if probes is None else Truth(probes, _tensors_only(plain.run(probes, names)))
        done: list[PassInfo] = [PassInfo("tensor_outputs", changed, 0.0)]
        for name, change in PASSES:
            candidate = model.clone()
            own = partial(dequantize, straight_through=True) if change is dequantize and straight_through else change
            info, after = _attempt(name, own, candidate, truth)
            if info.applied and name == OPENING:
                left_out = any(p.applied for p in done if p.name in LEAVING_OUT_ROUNDING)
                info = _item_by_item(info, candidate, truth, model if left_out else None, plain)
            done.append(info)
            if info.applied:
                model = candidate
                truth = after if name in LEAVING_OUT_ROUNDING else truth
        infer_shapes(model)
        annotate_roles(model)
        largest_first(model.graph)
    upcast, dequantized = (any(p.name == name and p.applied for p in done) for name in ("upcast_half_to_float", "dequantize"))
    allowed = max(half_tolerance(original) if upcast else 0.0, rounding_tolerance(original) if dequantized else 0.0)
    opened = 1 if done[-1].name == OPENING and done[-1].applied else None
    rounds = dequantized and rounding_tolerance(original) > 0
    shapes = None if probes is None else {name: array.shape for name, array in probes.items()}
    return Prepared(model, tuple(done), upcast, rounds, allowed, opened, straight_through, shapes)


@dataclass(frozen=True)
class Truth:
    """Probe inputs, and the outputs that a pass has to reproduce on them."""

    feeds: Feeds
    outputs: Mapping[str, Array]


def _tensors_only(outputs: Mapping[str, Any]) -> dict[str, Array]:
    """Without the outputs of a ZipMap, which are lists of dicts in the untouched model."""
    return {name: array for name, array in outputs.items() if isinstance(array, np.ndarray)}


def _attempt(name: str, change: Pass, candidate: ir.Model, truth: Truth | None) -> tuple[PassInfo, Truth | None]:
    """One pass on a copy: changed? still the same function? What the candidate computes is the truth after it."""
    # onnxruntime fuses operators that round, and rounds elsewhere then: as long as any are left, their steps show
    allowed = max(TOLERANCE, half_tolerance(candidate), rounding_tolerance(candidate))
    try:
        changed = change(candidate)
    except Exception as error:  # noqa: BLE001  (a third-party rewrite that fails leaves the model as it was)
        return PassInfo(name, False, float("nan"), f"not applied: {type(error).__name__}: {str(error)[:200]}"), None
    if not changed:
        return PassInfo(name, False, 0.0), None
    try:
        session = new_session(ir.to_proto(candidate).SerializeToString())
    except ModelUnsupported as error:
        return PassInfo(name, False, float("nan"), f"taken back: {error.what[:200]}"), None
    if truth is None:
        return PassInfo(name, True, float("nan"), "no probe input: verified on the first real input"), None
    feeds = _as_declared(truth.feeds, session)
    try:
        after = Truth(feeds, session.run(feeds, list(truth.outputs)))
    except Exception as error:  # noqa: BLE001  (what onnxruntime raises has no common base)
        return PassInfo(name, False, float("nan"), f"taken back: {str(error)[:200]}"), None
    deviates = deviation(truth.outputs, after.outputs)
    if not deviates <= allowed:
        return PassInfo(name, False, deviates, f"taken back: it changed the model's outputs (allowed {allowed:.2g})"), None
    left_out = f"rounding is left out: allowed {allowed:.2g}" if name in LEAVING_OUT_ROUNDING and allowed > TOLERANCE else ""
    return PassInfo(name, True, deviates, left_out), after


def _item_by_item(info: PassInfo, candidate: ir.Model, truth: Truth | None, before: ir.Model | None, plain: Session) -> PassInfo:
    """Two and three items at once against each alone by the untouched model (``before`` where rounding was left out)."""
    if truth is None:
        return replace(info, applied=False, note="taken back: no probe input to verify it on")
    session = new_session(ir.to_proto(candidate).SerializeToString())
    single = plain if before is None else new_session(ir.to_proto(before).SerializeToString())
    names, items = list(truth.outputs), [truth.feeds, another(truth.feeds, 1), another(truth.feeds, 2)]
    try:
        alone = [single.run(_as_declared(item, single), names) for item in items]
        errors = [_apart(session, items[:count], alone[:count]) for count in (2, 3)]
    except Exception as error:  # noqa: BLE001  (onnxruntime's exception classes share no public base below Exception)
        return replace(info, applied=False, note=f"taken back: {' '.join(str(error).split())[:200]}")
    allowed, worst = max(TOLERANCE, half_tolerance(candidate), rounding_tolerance(candidate)), max(info.error, *errors)
    if not worst <= allowed:
        return replace(
            info, applied=False, error=worst, note="taken back: items influence one another, or a shape holds one item"
        )
    return replace(info, error=worst)


def _apart(session: Session, items: Sequence[Feeds], alone: Sequence[Mapping[str, Any]]) -> float:
    """How far the results of items together are from those of each alone."""
    feeds = _as_declared({name: np.concatenate([item[name] for item in items]) for name in items[0]}, session)
    together = session.run(feeds, list(alone[0]))
    separate = {name: np.concatenate([result[name] for result in alone]) for name in alone[0]}
    exact = [name for name, array in separate.items() if array.dtype.kind != "f"]
    same = all(np.array_equal(separate[name], together[name]) for name in exact)
    return deviation(separate, together) if same else float("inf")


def _as_declared(feeds: Feeds, session: Session) -> Feeds:
    """Probe inputs in float32 where a pass has made the inputs float32."""
    single = {i.name for i in session.ort.get_inputs() if i.type == "tensor(float)"}
    return {name: array.astype(np.float32) if name in single else array for name, array in feeds.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """The rewriters log what they try; what matters is in :class:`PassInfo`."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
