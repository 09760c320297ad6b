"""Truths for activation maps: the papers' formulas in numpy, on activations of the untouched model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import onnx
import onnxruntime as ort

import explainsvc
from tests.models import Array


def upsampled(heat: Array, *sizes: int) -> Array:
    """[N, positions…] → [N, sizes…] linearly between the centres of positions, edges held."""
    found = heat.astype(np.float64)
    for axis, size in enumerate(sizes, start=1):
        centres = (np.arange(size) + 0.5) * found.shape[axis] / size - 0.5
        found = np.apply_along_axis(partial(_at, centres), axis, found)
    return found


def _at(centres: Array, row: Array) -> Array:
    return np.interp(centres, np.arange(len(row)), row)


def run(proto: onnx.ModelProto, feeds: dict[str, Array], *names: str) -> list[Array]:
    """Values of the untouched model, inner ones too, by a bare onnxruntime."""
    wider = onnx.ModelProto.FromString(proto.SerializeToString())
    inner = [n for n in names if n not in {output.name for output in wider.graph.output}]
    wider.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in inner)
    session = ort.InferenceSession(wider.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(a) for a in session.run(list(names), feeds)]


def activation(proto: onnx.ModelProto, x: Array, name: str) -> Array:
    """An inner value of the untouched model."""
    return run(proto, {"x": x}, name)[0]


def tail(proto: onnx.ModelProto, layer: str, output: str = "y") -> onnx.ModelProto:
    """The network from a layer on."""
    return onnx.utils.Extractor(onnx.shape_inference.infer_shapes(proto)).extract_model([layer], [output])


def gradient_at(proto: onnx.ModelProto, layer: str, a: Array, target: int) -> Array:
    """∂S/∂A at a layer, of the network cut there."""
    return explainsvc.load(tail(proto, layer)).explain({layer: a}, target=target).values[layer]


# The papers' formulas on A and G = ∂S/∂A, both [N, C, positions…]; each gives [N, positions…] before the ReLU


def _weighted(alpha: Array, a: Array) -> Array:
    return np.asarray(np.einsum("nk,nk...->n...", alpha, a))


def _positions(a: Array) -> tuple[int, ...]:
    return tuple(range(2, a.ndim))


def grad_cam(a: Array, g: Array) -> Array:
    """Selvaraju et al. 2017, equations 1 and 2."""
    return _weighted(g.mean(axis=_positions(a)), a)


def grad_cam_plus_plus(a: Array, g: Array) -> Array:
    """Chattopadhay et al. 2018, equations 7 and 19, as they stand."""
    total = a.sum(axis=_positions(a), keepdims=True)
    denominator = 2 * g**2 + total * g**3
    alpha = np.divide(g**2, denominator, where=denominator != 0, out=np.zeros_like(g))
    return _weighted((alpha * np.maximum(g, 0)).sum(axis=_positions(a)), a)


def xgrad_cam(a: Array, g: Array) -> Array:
    """Fu et al. 2020: the gradient averaged with A / Σ A as weights."""
    total = a.sum(axis=_positions(a), keepdims=True)
    share = np.divide(a, total, where=total != 0, out=np.zeros_like(a))
    return _weighted((share * g).sum(axis=_positions(a)), a)


def hires_cam(a: Array, g: Array) -> Array:
    """Draelos & Carin 2020."""
    return np.asarray((a * g).sum(axis=1))


def layer_cam(a: Array, g: Array) -> Array:
    """Jiang et al. 2021."""
    return np.asarray((np.maximum(g, 0) * a).sum(axis=1))


FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    f.__name__: f for f in (grad_cam, grad_cam_plus_plus, xgrad_cam, hires_cam, layer_cam)
}


def expected_map(method: str, a: Array, g: Array, sizes: Sequence[int], relu: bool = True) -> Array:
    """A method's map over the input's positions, float64 [N, sizes…]."""
    heat = FORMULAS[method](a.astype(np.float64), g.astype(np.float64))
    return upsampled(np.maximum(heat, 0) if relu and method != "hires_cam" else heat, *sizes)
