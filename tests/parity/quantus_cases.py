"""What Quantus and our checks are both asked: a small network, inputs, maps, masks and perturbations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import onnx

from explainsvc.weights import seed_sequence
from tests.models import Array, build, numbers, weights

ITEMS, SIZE, CLASSES = 6, 10, 5
SHAPE = (1, SIZE, SIZE)
RADIUS, NEIGHBOURS = 0.1, 8
"""Of max_sensitivity: relative to the range of all inputs."""
STEP = 20
"""Features a step of pixel flipping."""
PATCH = 2
"""Side of a region."""
PERCENTAGES = tuple(range(10, 100, 10))
TOP = 7
LAYERS = ("conv1", "conv2", "conv3", "head")


def tensors(classes: int = CLASSES) -> dict[str, Array]:
    """The network's weights: conv2 and conv3 have one shape."""
    found = {"conv1.weight": weights("q1", 3, 1, 3, 3), "conv1.bias": weights("c1", 3)}
    found |= {f"conv{i}.{name}": weights(f"q{i}{name}", *shape) for i in (2, 3) for name, shape in
              (("weight", (3, 3, 3, 3)), ("bias", (3,)))}  # fmt: skip
    return found | {"head.weight": weights("q4", classes, 300, scale=0.2), "head.bias": weights("c4", classes)}


def network(classes: int = CLASSES) -> onnx.ModelProto:
    """x [N, 1, 10, 10] → three padded convolutions with ReLUs → dense → y [N, classes]."""
    graph = f"""g (float[N, 1, 10, 10] x) => (float[N, {classes}] y) {{
      [conv1] a = Conv <pads = [1, 1, 1, 1]> (x, "conv1.weight", "conv1.bias")  [relu1] b = Relu (a)
      [conv2] c = Conv <pads = [1, 1, 1, 1]> (b, "conv2.weight", "conv2.bias")  [relu2] d = Relu (c)
      [conv3] e = Conv <pads = [1, 1, 1, 1]> (d, "conv3.weight", "conv3.bias")  [relu3] f = Relu (e)
      [flat] h = Flatten (f)  [head] y = Gemm <transB = 1> (h, "head.weight", "head.bias")
    }}"""
    return build(graph, tensors(classes))


def linear() -> onnx.ModelProto:
    """x [N, 1, 10, 10] → dense without a bias → y [N, 5]: x·w sums to y to rounding."""
    graph = 'g (float[N, 1, 10, 10] x) => (float[N, 5] y) { h = Flatten (x)  y = Gemm <transB = 1> (h, "head.weight") }'
    return build(graph, {"head.weight": line()})


def line() -> Array:
    """Its weights."""
    return weights("line", CLASSES, SIZE * SIZE)


def unpadded() -> onnx.ModelProto:
    """x [N, 1, 10, 10] → convolution without padding, Relu → dense → y [N, 5]: its first bias can be corrected exactly."""
    graph = """g (float[N, 1, 10, 10] x) => (float[N, 5] y) {
      a = Conv (x, "conv1.weight", "conv1.bias")  b = Relu (a)  h = Flatten (b)
      y = Gemm <transB = 1> (h, "head.weight", "head.bias")
    }"""
    return build(graph, unpadded_tensors())


def unpadded_tensors() -> dict[str, Array]:
    """Its weights."""
    own = tensors()
    return {name: own[name] for name in ("conv1.weight", "conv1.bias", "head.bias")} | {
        "head.weight": weights("u", CLASSES, 3 * (SIZE - 2) ** 2, scale=0.2)
    }


def inputs() -> Array:
    """x, whose values are not centred."""
    return numbers(ITEMS, *SHAPE, seed=11) + np.float32(0.25)


def maps() -> Array:
    """Maps that no model made, of both signs, no two elements alike."""
    return numbers(ITEMS, *SHAPE, seed=12)


def masks() -> Array:
    """Where the objects are: a block of another size in each picture."""
    found = np.zeros((ITEMS, *SHAPE), bool)
    for k, mask in enumerate(found):
        mask[:, 1 : 4 + k, 2 : 5 + k // 2] = True
    return found


def neighbours() -> Iterator[Array]:
    """What the check max_sensitivity adds to the inputs, sample by sample, drawn again from its seed."""
    x = inputs()
    radius = RADIUS * float(np.ptp(x.astype(np.float64)))
    for k in range(NEIGHBOURS):
        rng = np.random.default_rng(seed_sequence(0, f"neighbours/{k}"))
        yield radius * rng.uniform(-1, 1, x.shape)


def digest() -> str:
    """Of everything above: a record belongs to the numbers that it was made from."""
    arrays = [inputs(), maps(), masks(), line(), *tensors().values(), *tensors(2).values(), *unpadded_tensors().values()]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in (*arrays, *neighbours()))).hexdigest()
