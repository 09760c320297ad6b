"""Passes: graph → graph that computes the same. Every one is verified on probe inputs against the untouched model.

The order matters: structure first (functions inlined, constants lifted), then real numbers instead of half precision
and quantised ones, then one modern opset, then the rewrites that differentiation and relevance rules rely on (BatchNorm
folded, MatMul+Add one Gemm). Passes that leave out rounding have a tolerance of their own; what comes after is held against
their result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.autograd.shapes import Array
from explainsvc.errors import ModelUnsupported
from explainsvc.graph.passes.adapters import adapt_old_operators
from explainsvc.graph.passes.batchnorm import fold_batchnorm
from explainsvc.graph.passes.constants import fold_constants
from explainsvc.graph.passes.dequantize import dequantize, rounding_tolerance
from explainsvc.graph.passes.expand import expand_functions
from explainsvc.graph.passes.gemm import matmul_add_to_gemm
from explainsvc.graph.passes.opset import convert_opset
from explainsvc.graph.passes.precision import half_tolerance, upcast_half
from explainsvc.graph.passes.sequences import resolve_sequences
from explainsvc.graph.passes.shapes import infer_shapes
from explainsvc.graph.passes.structure import simplify_structure
from explainsvc.graph.passes.zipmap import tensor_outputs
from explainsvc.graph.probe import deviation, probe_inputs
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
        probe: Input → shape of the probe input on which the passes were verified; None where no guess was accepted.
    """

    model: ir.Model
    passes: tuple[PassInfo, ...]
    upcast: bool
    dequantized: bool = False
    tolerance: float = 0.0
    probe: Mapping[str, tuple[int, ...]] | None = None

    @property
    def caveats(self) -> tuple[str, ...]:
        """What holds for every explanation of this graph."""
        found = []
        if self.upcast:
            found.append("the model is in half precision; it was explained in float32")
        if self.dequantized:
            error = next(p.error for p in self.passes if p.name == "dequantize")
            found.append(
                "the model is quantised; it was explained through its dequantised twin, which saturates but does not round "
                f"(outputs differ by {error:.2g} of their largest magnitude on probe inputs; allowed: {self.tolerance:.2g})"
            )
        return tuple(found)


PASSES: tuple[tuple[str, Pass], ...] = (
    ("inline_functions_lift_constants", simplify_structure),
    ("upcast_half_to_float", upcast_half),
    ("dequantize", dequantize),
    ("adapt_old_operators", adapt_old_operators),
    ("convert_opset", convert_opset),
    ("resolve_sequences", resolve_sequences),
    ("expand_functions", expand_functions),
    ("fold_constants", fold_constants),
    ("fold_batchnorm", fold_batchnorm),
    ("matmul_add_to_gemm", matmul_add_to_gemm),
)
LEAVING_OUT_ROUNDING = frozenset({"upcast_half_to_float", "dequantize"})
"""Their result, the function without its rounding, is what later passes are held against."""


def prepare(proto: onnx.ModelProto, plain: Session) -> Prepared:
    """Applies all passes; one that changes what the model computes on the probe inputs is taken back and reported."""
    with quiet():
        tensors, changed = tensor_outputs(proto)
        original = model = ir.from_proto(tensors)
        probes = probe_inputs(plain)
        names = [v.name or "" for v in model.graph.outputs]
        truth = None if probes is None else Truth(probes, _tensors_only(plain.run(probes, names)))
        done: list[PassInfo] = [PassInfo("tensor_outputs", changed, 0.0)]
        for name, change in PASSES:
            candidate = model.clone()
            info, after = _attempt(name, change, candidate, truth)
            done.append(info)
            if info.applied:
                model = candidate
                truth = after if name in LEAVING_OUT_ROUNDING else truth
        infer_shapes(model)
    upcast, dequantized = (any(p.name == name and p.applied for p in done) for name in ("upcast_half_to_float", "dequantize"))
    allowed = max(half_tolerance(original) if upcast else 0.0, rounding_tolerance(original) if dequantized else 0.0)
    shapes = None if probes is None else {name: array.shape for name, array in probes.items()}
    return Prepared(model, tuple(done), upcast, dequantized and rounding_tolerance(original) > 0, allowed, shapes)


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
    after = Truth(feeds, session.run(feeds, list(truth.outputs)))
    deviates = deviation(truth.outputs, after.outputs)
    if not deviates <= allowed:
        return PassInfo(name, False, deviates, f"taken back: it changed the model's outputs (allowed {allowed:.2g})"), None
    left_out = f"rounding is left out: allowed {allowed:.2g}" if name in LEAVING_OUT_ROUNDING and allowed > TOLERANCE else ""
    return PassInfo(name, True, deviates, left_out), after


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
