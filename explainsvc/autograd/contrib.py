"""Bodies of operators of com.microsoft that ONNX has too, in another form, or that are a few operators of ONNX fused.

Source: onnxruntime's ContribOperators.md and the CPU kernels, against which the tests compare.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from explainsvc.autograd.body_text import attribute, function, present, rank

Body = onnx.FunctionProto | None


# The same operator, earlier ---------------------------------------------------------------------------------------------


def gather_nd(_: ir.Node) -> Body:
    """Its indices may be int32."""
    return function(["data", "indices"], ["output"], ["places = Cast <to = 7> (indices)", "output = GatherND (data, places)"])


def grid_sample(node: ir.Node) -> Body:
    """Its modes have the names of opset 16."""
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(_text(node, "mode", "bilinear"), "nearest")
    padding, corners = _text(node, "padding_mode", "zeros"), attribute(node, "align_corners", 0)
    sample = f'GridSample <mode = "{mode}", padding_mode = "{padding}", align_corners = {corners}>'
    return function(["x", "grid"], ["output"], [f"output = {sample} (x, grid)"])


def pad(node: ir.Node) -> Body:
    """Its pads may have a leading axis, its value may be a vector of one element."""
    filled = present(node, 2)
    lines = ["sizes = Reshape (pads, last)", *(["border = Squeeze (value)"] if filled else [])]
    lines += [f'output = Pad <mode = "{_text(node, "mode", "constant")}"> (data, sizes{", border" if filled else ""})']
    return function(["data", "pads", "value"][: len(node.inputs)], ["output"], lines)


def trilu(node: ir.Node) -> Body:
    """ONNX took it over as it is."""
    operands = "x, k" if present(node, 1) else "x"
    line = f"output = Trilu <upper = {attribute(node, 'upper', 1)}> ({operands})"
    return function(["x", "k"][: len(node.inputs)], ["output"], [line])


def unique(_: ir.Node) -> Body:
    """In the order of first appearance."""
    line = "output, first, places, counts = Unique <sorted = 0> (x)"
    return function(["x"], ["output", "places", "counts"], [line])


def expand_dims(_: ir.Node) -> Body:
    """One axis, as an int32."""
    lines = ["axis64 = Cast <to = 7> (axis)", "axes = Reshape (axis64, last)", "output = Unsqueeze (x, axes)"]
    return function(["x", "axis"], ["output"], lines)


# Fused ------------------------------------------------------------------------------------------------------------------


def embed_layer_norm(node: ir.Node) -> Body:
    """The sum of the rows of words, positions and segments, normalised."""
    lines = ["words = Gather (word_embedding, input_ids)"]
    if present(node, 8):
        lines += ["positions = Gather (position_embedding, position_ids)"]
    else:
        lines += ["length = Shape <start = 1, end = 2> (input_ids)", "positions = Slice (position_embedding, i0, length, i0)"]
    lines += ["placed = Add (words, positions)"]
    if present(node, 1):
        lines += ["segments = Gather (segment_embedding, segment_ids)", "embedding_sum = Add (placed, segments)"]
    else:
        lines += ["embedding_sum = Identity (placed)"]
    epsilon = float(attribute(node, "epsilon", 1e-12))
    lines += [f"output = LayerNormalization <axis = -1, epsilon = {epsilon!r}> (embedding_sum, gamma, beta)", *_words(node)]
    names = ["input_ids", "segment_ids", "word_embedding", "position_embedding", "segment_embedding", "gamma", "beta", "mask"]
    return function([*names, "position_ids"][: len(node.inputs)], ["output", "mask_index", "embedding_sum"], lines)


def _words(node: ir.Node) -> list[str]:
    """``mask_index``: how many ones the mask of every sequence has, 0 without a mask."""
    if not present(node, 7):
        return ["batch = Shape <start = 0, end = 1> (input_ids)", "mask_index = ConstantOfShape <value = int32[1] {0}> (batch)"]
    return ["one = Constant <value = int32 {1}> ()", "is_word = Equal (mask, one)", "counted = Cast <to = 6> (is_word)",
            "mask_index = ReduceSum <keepdims = 0> (counted, i1)"]  # fmt: skip


def distances(node: ir.Node) -> Body:
    """Between all rows of two matrices."""
    reduced = {"sqeuclidean": "ReduceSumSquare", "euclidean": "ReduceL2"}.get(_text(node, "metric", "sqeuclidean"))
    if reduced is None:
        return None
    lines = ["rows = Unsqueeze (a, i1)", "others = Unsqueeze (b, i0)", "apart = Sub (rows, others)"]
    return function(["a", "b"], ["output"], [*lines, f"output = {reduced} <keepdims = 0> (apart, i2)"])


def scaled_silu(node: ir.Node) -> Body:
    """z σ(z), z = scale · x."""
    scaled = [f"factor = Constant <value = float {{{float(attribute(node, 'alpha', 1.0))!r}}}> ()"]
    scaled = ["factor_of = Reshape (scale, none)"] if present(node, 1) else [*scaled, "factor_of = Identity (factor)"]
    lines = ["none = Constant <value = int64[0] {}> ()", *scaled, "like = CastLike (factor_of, x)", "z = Mul (x, like)"]
    return function(["x", "scale"][: len(node.inputs)], ["output"], [*lines, "open = Sigmoid (z)", "output = Mul (z, open)"])


def gated_add(node: ir.Node) -> Body:
    """x + y · gate; the projected gate exists in bfloat16 on GPUs only."""
    if present(node, 3):
        return None
    return function(["x", "y", "gate"], ["output"], ["gated = Mul (y, gate)", "output = Add (x, gated)"])


def gated_rms_norm(node: ir.Node) -> Body:
    """A root mean square over every len(scale) elements, times scale, times the activated gate."""
    activation = _text(node, "activation", "silu")
    lines = ["shape = Shape (x)", "width = Shape (scale)", "rows_shape = Concat <axis = 0> (last, width)",
             "rows = Reshape (x, rows_shape)", *_root_mean_square(node, "rows"), "normed_x = Reshape (scaled, shape)",
             "open = Sigmoid (gate)", "active = Mul (gate, open)" if activation != "sigmoid" else "active = Identity (open)",
             "output = Mul (normed_x, active)"]  # fmt: skip
    return function(["x", "scale", "gate"], ["output"], lines)


def branchwise_rms_norm(node: ir.Node) -> Body:
    """A root mean square over the last axis, or over each of ``num_branches`` parts of it."""
    branches, ranks = attribute(node, "num_branches", 0), (rank(node, 0), rank(node, 1))
    if ranks[0] is None or (present(node, 1) and ranks[1] is None):
        return None
    zeros = ", ".join(["0"] * (ranks[0] - 1))
    split = f"split = Constant <value = int64[{ranks[0] + 1}] {{{zeros}, {branches}, -1}}> ()"
    lines = ["shape = Shape (x)", *([split, "rows = Reshape (x, split)"] if branches else ["rows = Identity (x)"])]
    lines += _root_mean_square(node, "rows", scaled=False)
    if present(node, 1):
        lines += ["grid = Shape <start = -2> (rows)"]
        lines += ["weight = Reshape (scale, grid)" if _is_whole(node) else "weight = Identity (scale)"]
        lines += ["scaled = Mul (normed, weight)"]
    lines += [f"output = Reshape ({'scaled' if present(node, 1) else 'normed'}, shape)"]
    return function(["x", "scale"][: len(node.inputs)], ["output"], lines)


def _is_whole(node: ir.Node) -> bool:
    """Whether a scale of one axis has an element for every element of all branches, and not of one."""
    x, scale = node.inputs[0], node.inputs[1]
    assert x is not None
    assert scale is not None
    assert x.shape is not None
    assert scale.shape is not None
    if len(scale.shape) != 1:
        return False
    flat = bool(attribute(node, "num_branches", 0))
    return scale.shape[0] == x.shape[-1] if flat else scale.shape[0] != x.shape[-1]


def _root_mean_square(node: ir.Node, rows: str, *, scaled: bool = True) -> list[str]:
    """``normed`` = rows / √(mean rows² + ε) over the last axis, and ``scaled`` = that times ``scale``."""
    epsilon = float(attribute(node, "epsilon", 1e-6))
    lines = [f"squares = Mul ({rows}, {rows})", "mean = ReduceMean <keepdims = 1> (squares, last)",
             f"eps = Constant <value = float {{{epsilon!r}}}> ()", f"eps_like = CastLike (eps, {rows})",
             "raised = Add (mean, eps_like)", "root = Sqrt (raised)", f"normed = Div ({rows}, root)"]  # fmt: skip
    return [*lines, "scaled = Mul (normed, scale)"] if scaled else lines


def linear_attention_gate(node: ir.Node) -> Body:
    """decay = decay_scale · softplus(a + dt_bias), beta = σ(b)."""
    lines = ["biased = Add (a, dt_bias)", "positive = Softplus (biased)", "decay = Mul (positive, decay_scale)"]
    lines += ["beta = Sigmoid (b)"] if present(node, 3) else []
    return function(["a", "dt_bias", "decay_scale", "b"][: len(node.inputs)], ["decay", "beta"][: len(node.outputs)], lines)


# Recurrences -------------------------------------------------------------------------------------------------------------


def linear_attention(node: ir.Node) -> Body:
    """ONNX's LinearAttention, without a window of states."""
    if attribute(node, "state_window", 0) or attribute(node, "kv_num_heads") > attribute(node, "q_num_heads"):
        return None
    numbers = [f"{name} = {attribute(node, name)}" for name in ("q_num_heads", "kv_num_heads")]
    numbers += [
        f"scale = {float(attribute(node, 'scale', 0.0))!r}",
        f'update_rule = "{_text(node, "update_rule", "gated_delta")}"',
    ]
    names = ["query", "key", "value", "past", "decay", "beta"]
    operands = [name if present(node, i) else "" for i, name in enumerate(names)]
    line = f"output, present = LinearAttention <{', '.join(numbers)}> ({_listed(operands)})"
    return function(names[: len(node.inputs)], ["output", "present"], [line])


def causal_conv(node: ir.Node) -> Body:
    """ONNX's CausalConvWithState: one axis, channels first, no dilation, no window of states."""
    defaults = {"ndim": 1, "dilation": 1, "channels_last": 0, "state_window": 0, "input_channels": 0, "state_length": 0,
                "state_update_capacity": 0, "input_channel_offset": 0}  # fmt: skip
    if any(attribute(node, name, value) != value for name, value in defaults.items()):
        return None
    names = ["x", "weight", "bias", "past"]
    operands = [name if present(node, i) else "" for i, name in enumerate(names)]
    call = f'CausalConvWithState <activation = "{_text(node, "activation", "none")}">'
    return function(names[: len(node.inputs)], ["output", "present"], [f"output, present = {call} ({_listed(operands)})"])


def _listed(operands: list[str]) -> str:
    """Omitted ones between the others stay empty, those behind them go."""
    return ", ".join(operands).rstrip(", ")


def _text(node: ir.Node, name: str, default: str) -> str:
    return str(attribute(node, name, default))
