"""Passes: graph → graph that computes the same. Every one is verified on probe inputs against the untouched model.

The order matters: structure first (functions inlined, constants lifted), then one modern opset, then the rewrites
that differentiation and relevance rules rely on (BatchNorm folded, MatMul+Add one Gemm).
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
from explainsvc.graph.passes.batchnorm import fold_batchnorm
from explainsvc.graph.passes.constants import fold_constants
from explainsvc.graph.passes.expand import expand_functions
from explainsvc.graph.passes.gemm import matmul_add_to_gemm
from explainsvc.graph.passes.opset import convert_opset
from explainsvc.graph.passes.precision import upcast_half
from explainsvc.graph.passes.shapes import infer_shapes
from explainsvc.graph.passes.structure import simplify_structure
from explainsvc.graph.passes.zipmap import tensor_outputs
from explainsvc.graph.probe import deviation, probe_inputs
from explainsvc.runtime import Feeds, Session, new_session

Pass = Callable[[ir.Model], bool]
"""Changes the model in place; True when it changed anything."""

TOLERANCE = 1e-4
"""Largest relative deviation of a pass in float32; rounding of a folded ResNet is about 1e-6."""
HALF_TOLERANCE = 3e-2
"""The same for models in half precision: eps is 1e-3, and errors of layers add up."""


@dataclass(frozen=True)
class PassInfo:
    """What a pass did: its measured error is NaN where the model takes no probe input that we can guess."""

    name: str
    applied: bool
    error: float
    note: str = ""


@dataclass(frozen=True)
class Prepared:
    """The graph that is differentiated, and how it came about."""

    model: ir.Model
    passes: tuple[PassInfo, ...]
    upcast: bool


PASSES: tuple[tuple[str, Pass], ...] = (
    ("inline_functions_lift_constants", simplify_structure),
    ("upcast_half_to_float", upcast_half),
    ("convert_opset", convert_opset),
    ("expand_functions", expand_functions),
    ("fold_constants", fold_constants),
    ("fold_batchnorm", fold_batchnorm),
    ("matmul_add_to_gemm", matmul_add_to_gemm),
)


def prepare(proto: onnx.ModelProto, plain: Session) -> Prepared:
    """Applies all passes; one that changes what the model computes on the probe inputs is taken back and reported."""
    with quiet():
        tensors, changed = tensor_outputs(proto)
        model = ir.from_proto(tensors)
        probes = probe_inputs(plain)
        names = [v.name or "" for v in model.graph.outputs]
        expected = None if probes is None else _tensors_only(plain.run(probes, names))
        done: list[PassInfo] = [PassInfo("tensor_outputs", changed, 0.0)]
        upcast = False
        for name, change in PASSES:
            candidate = model.clone()
            info = _attempt(name, change, candidate, probes, expected, upcast)
            done.append(info)
            if info.applied:
                model = candidate
                upcast = upcast or name == "upcast_half_to_float"
        infer_shapes(model)
    return Prepared(model, tuple(done), upcast)


def _tensors_only(outputs: Mapping[str, Any]) -> dict[str, Array]:
    """Without the outputs of a ZipMap, which are lists of dicts in the untouched model."""
    return {name: array for name, array in outputs.items() if isinstance(array, np.ndarray)}


def _attempt(
    name: str, change: Pass, candidate: ir.Model, probes: Feeds | None, expected: dict[str, Array] | None, upcast: bool
) -> PassInfo:
    """One pass on a copy: changed? still the same function?"""
    try:
        changed = change(candidate)
    except Exception as error:  # noqa: BLE001  (a third-party rewrite that fails leaves the model as it was)
        return PassInfo(name, False, float("nan"), f"not applied: {type(error).__name__}: {str(error)[:200]}")
    if not changed:
        return PassInfo(name, False, 0.0)
    half = upcast or name == "upcast_half_to_float"
    try:
        session = new_session(ir.to_proto(candidate).SerializeToString())
    except ModelUnsupported as error:
        return PassInfo(name, False, float("nan"), f"taken back: {error.what[:200]}")
    if probes is None or expected is None:
        return PassInfo(name, True, float("nan"), "no probe input: verified on the first real input")
    fed = {k: a.astype("float32") if half and a.dtype == "float16" else a for k, a in probes.items()}
    deviates = deviation(expected, session.run(fed, list(expected)))
    if deviates > (HALF_TOLERANCE if half else TOLERANCE):
        return PassInfo(name, False, deviates, "taken back: it changed the model's outputs")
    return PassInfo(name, True, deviates)


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
