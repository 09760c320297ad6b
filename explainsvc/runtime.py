"""onnxruntime: providers, sessions, and runs in batches that a graph accepts."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as KernelMissing

from explainsvc import arena, sharing
from explainsvc.arena import SHRINK
from explainsvc.autograd.shapes import Array
from explainsvc.errors import ModelUnsupported
from explainsvc.lanes import LANE, MOST, Lane
from explainsvc.spans import span
from explainsvc.stopping import STOP

Feeds = Mapping[str, Array]
Fed = Mapping[str, Array | ort.OrtValue]
"""Inputs of a run; those that another session kept stay where they are."""

HELD = 4
"""Bytes that a session is counted with per byte of its serialized graph: its weights, their packed forms and what a run takes.

Measured on explained graphs of ResNet-50, each with an arena of its own: 3.5 (gradient, LRP-ε), 6 (LRP-z⁺), 8 (LRP-αβ).
"""

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

LARGE_RUN = 2_000_000
"""Elements of the inputs, such as 16 photographs, from which on a run gives its memory back afterwards.

onnxruntime keeps what the largest run ever took: a batch of 16 through SqueezeNet and its gradient holds 0.6 GB for good. Giving
it back costs the page faults of taking it anew.
"""


def _run_options(large: bool) -> ort.RunOptions:
    options = ort.RunOptions()
    if large:
        options.add_run_config_entry(*SHRINK)
    return options


@dataclass(frozen=True)
class Session:
    """A loaded graph: input and output names with declared shapes, and the onnxruntime session."""

    ort: ort.InferenceSession
    graph_bytes: int
    inputs: dict[str, tuple[int | str | None, ...]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    given: Mapping[str, ort.OrtValue] = field(default_factory=dict, repr=False)
    """Initializers that lie outside: onnxruntime reads them where they are."""

    @property
    def held_bytes(self) -> int:
        """About what onnxruntime holds for it."""
        return HELD * self.graph_bytes

    def run(self, feeds: Fed, names: Sequence[str] | None = None) -> dict[str, Array]:
        """``{output name: array}`` of one onnxruntime run."""
        wanted = list(self.outputs if names is None else names)
        if any(isinstance(value, ort.OrtValue) for value in feeds.values()):
            found = self._bound(feeds, wanted, "cpu").copy_outputs_to_cpu()
        else:
            with self._running(feeds) as options:
                found = self.ort.run(wanted, dict(feeds), options)
        return dict(zip(wanted, found, strict=True))

    def keep(self, feeds: Fed, names: Sequence[str] | None = None) -> dict[str, ort.OrtValue]:
        """As :meth:`run`, but the values stay where onnxruntime computed them: for other sessions, which take them uncopied."""
        wanted = list(self.outputs if names is None else names)
        device = "cuda" if CUDA in self.ort.get_providers() else "cpu"
        return dict(zip(wanted, self._bound(feeds, wanted, device).get_outputs(), strict=True))

    def _bound(self, feeds: Fed, names: Sequence[str], device: str) -> ort.IOBinding:
        """A run whose inputs and outputs are bound to where they lie, and shall lie.

        https://onnxruntime.ai/docs/performance/tune-performance/iobinding.html
        """
        binding = self.ort.io_binding()
        for name, value in feeds.items():
            if isinstance(value, ort.OrtValue):
                binding.bind_ortvalue_input(name, value)
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in names:
            binding.bind_output(name, device, _device() if device == "cuda" else 0)
        with self._running(feeds) as options:
            self.ort.run_with_iobinding(binding, options)
        return binding

    @contextmanager
    def _running(self, feeds: Fed) -> Iterator[ort.RunOptions]:
        options = _run_options(large=sum(a.size for a in feeds.values() if isinstance(a, np.ndarray)) >= LARGE_RUN)
        with span("run"), STOP.get().during(options):
            yield options


def providers() -> list[str]:
    """CUDA where this onnxruntime has it, then CPU. ``EXPLAINSVC_PROVIDERS`` (comma separated) overrides."""
    chosen = os.environ.get("EXPLAINSVC_PROVIDERS")
    if chosen:
        return chosen.split(",")
    available = ort.get_available_providers()
    return [p for p in (CUDA, CPU) if p in available]


def threads() -> int:
    """Threads of a session: sums are made in their order, so that other threads may round otherwise."""
    return _threads_asked() or os.cpu_count() or 1


def _threads_asked() -> int:
    return int(os.environ.get("EXPLAINSVC_THREADS", "0"))


def lanes() -> list[Lane]:
    """What this machine's processor is shared out to, where sessions come and go; a device runs one session at a time."""
    count = min(MOST, threads()) if providers() == [CPU] else 1
    return [Lane(threads() // count if count > 1 else _threads_asked(), _threads_asked())] * count


def new_session(model_bytes: bytes) -> Session:
    """A session for a serialized model.

    Threads: ``EXPLAINSVC_THREADS`` (0: onnxruntime's choice, one per core).

    Raises:
        ModelUnsupported: onnxruntime refuses the model; its reason is passed on.
    """
    STOP.get().check()
    with span("session"), _refusing():
        return _made(_session(model_bytes), len(model_bytes))


@contextmanager
def _refusing() -> Iterator[None]:
    """What onnxruntime says of a graph, as this package's error."""
    try:
        yield
    except Exception as error:
        # onnxruntime's exception classes share no public base below Exception
        raise ModelUnsupported(
            f"onnxruntime {ort.__version__} does not load it: {_short(error)}",
            expected="operators, domains and opsets of this onnxruntime",
            to_do="Replace what is named here and export the model again",
        ) from error


def _made(session: ort.InferenceSession, graph_bytes: int, given: Mapping[str, ort.OrtValue] | None = None) -> Session:
    inputs = {i.name: tuple(i.shape) for i in session.get_inputs()}
    return Session(session, graph_bytes, inputs, tuple(o.name for o in session.get_outputs()), given or {})


def _options(exact: bool) -> ort.SessionOptions:
    """A session's; ``exact``: 8-bit products do not saturate on processors without VNNI.

    There the fast kernels for uint8 × int8 add pairs in 16 bits: an output of a small quantised CNN is off by 11 % of its
    range. The exact ones lack QGemm.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_mem_pattern = False  # one block for a whole run costs page faults: VGG-16, gradient: 306 ms instead of 275
    options.intra_op_num_threads = _threads_asked()
    # Threads that spin on after a run slow the next session: ResNet-50 forward, then gradient: 97 ms instead of 66 (2 cores)
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if providers() == [CPU]:
        arena.join(options)
    if (own := LANE.get()) is not None:
        own.enter(options)
    return options


def _session(model_bytes: bytes) -> ort.InferenceSession:
    """onnxruntime's session, by the fast kernels where the exact ones are missing."""
    devices = [_on_device(name) for name in providers()]
    try:
        return ort.InferenceSession(model_bytes, _options(exact=True), providers=devices)
    except KernelMissing:
        return ort.InferenceSession(model_bytes, _options(exact=False), providers=devices)


def optimised_twin(model_bytes: bytes) -> onnx.ModelProto | None:
    """The graph as a session on the processor has it once it is optimised; None where there is no such graph to be had.

    onnxruntime writes it to a file that it opens by its name, which a sandboxed worker may not.
    """
    if providers() != [CPU]:
        return None
    options = _options(exact=True)
    with suppress(Exception), _scratch() as path:  # onnxruntime's exception classes share no public base below Exception
        options.optimized_model_filepath = path
        options.add_session_config_entry("session.disable_prepacking", "1")  # it is never run
        ort.InferenceSession(model_bytes, options, providers=providers())
        return onnx.load(path)
    return None


@contextmanager
def _scratch() -> Iterator[str]:
    """The path of a file in memory; OSError where none may be opened, before any work is done for it."""
    descriptor = os.memfd_create("graph")
    path = f"/proc/self/fd/{descriptor}"
    try:
        os.close(os.open(path, os.O_WRONLY))
        yield path
    finally:
        os.close(descriptor)


def optimised_session(model_bytes: bytes, given: Mapping[str, ort.OrtValue]) -> Session:
    """A session of an optimised graph, as it is.

    Args:
        model_bytes: Serialized, made of :func:`optimised_twin`'s graph.
        given: Its outside initializers (:func:`explainsvc.sharing.outside`).

    Raises:
        ModelUnsupported: onnxruntime refuses the graph.
    """
    STOP.get().check()
    options = _options(exact=True)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    held = sum(value.tensor_size_in_bytes() for value in given.values())
    with span("session"), _refusing(), sharing.given(options, given):
        return _made(ort.InferenceSession(model_bytes, options, providers=providers()), len(model_bytes) + held, given)


def _device() -> int:
    """The number of the device that ``EXPLAINSVC_DEVICE`` says."""
    return int(os.environ.get("EXPLAINSVC_DEVICE") or 0)


def _on_device(provider: str) -> str | tuple[str, dict[str, str]]:
    """CUDA on the device and within the memory that ``EXPLAINSVC_DEVICE`` and ``EXPLAINSVC_GPU_MEM_LIMIT`` say."""
    names = {"device_id": "EXPLAINSVC_DEVICE", "gpu_mem_limit": "EXPLAINSVC_GPU_MEM_LIMIT"}
    given = {option: os.environ[name] for option, name in names.items() if os.environ.get(name)}
    return (provider, given) if provider == CUDA and given else provider


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


@contextmanager
def ending_after(seconds: float) -> Iterator[ort.RunOptions]:
    """Options of a run that onnxruntime breaks off after this time: between two nodes, those of a loop's body included."""
    options = ort.RunOptions()
    options.log_severity_level = 4
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.start()
    try:
        with STOP.get().during(options):
            yield options
    finally:
        timer.cancel()


def run_in_batches(session: Session, feeds: Feeds, frozen: int | None, names: Sequence[str] | None = None) -> dict[str, Array]:
    """Runs items in groups of ``frozen``, the batch size that the exporter fixed (None: all at once).

    The last group is filled up by repeating its last item; the filling is cut from the results.
    """
    items = next((len(a) for a in feeds.values() if a.ndim > 0), 0)
    if frozen is None or items == frozen:
        return session.run(feeds, names)
    parts = [session.run(_group(feeds, start, frozen), names) for start in range(0, items, frozen)]
    return {name: np.concatenate([p[name] for p in parts])[:items] for name in parts[0]}


def _group(feeds: Feeds, start: int, size: int) -> dict[str, Array]:
    group = {}
    for name, array in feeds.items():
        part = array[start : start + size]
        group[name] = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]) if len(part) < size else part
    return group
