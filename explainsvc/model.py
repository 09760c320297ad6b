"""A model: its digest, its plain session, its explained graphs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir

from explainsvc.attribution import Attribution
from explainsvc.autograd.backward import FLOATS
from explainsvc.autograd.shapes import Array, shape_of
from explainsvc.cards import read_params
from explainsvc.dry_run import DryRun, dry_run
from explainsvc.engine import CompiledExplanation as CompiledExplanation
from explainsvc.engine import build, program_of
from explainsvc.errors import InvalidInput, TargetOutOfRange
from explainsvc.explained import declare_ranks, find_value, forward_graph
from explainsvc.explaining import explain
from explainsvc.files import Make, Source, built
from explainsvc.graph.passes import Prepared, prepare
from explainsvc.graph.passes.runnable import Runnable, runnable
from explainsvc.info import ModelInfo, TensorInfo, tensor_info
from explainsvc.inputs import check_feeds
from explainsvc.inspection import inspect_model, target_name, wanted_inputs
from explainsvc.ledger import Ledger, ledger
from explainsvc.memory import Memory
from explainsvc.method import Progress, Watch, silent
from explainsvc.methods import find_method
from explainsvc.rest import inner_values
from explainsvc.runtime import Session, run_in_batches
from explainsvc.sessions import SESSIONS, SessionCache
from explainsvc.spans import span
from explainsvc.target import Target

if TYPE_CHECKING:
    from explainsvc.checks.rows import Row
    from explainsvc.report.report import Report


class Model:
    """An ONNX model that can be explained. Nothing in it changes after construction but caches.

    Args:
        source: The model's file, checked.
        prepared: Its prepared graph where that is known: the model was made from another one by exchanging weights.
            Passes and explained graphs are verified on the model that it came from, and its sessions live as long as it.
        straight_through: See :attr:`straight_through`.
        make: (key, build) → the session of a graph derived from this model, where there is a shorter way than building it.
    """

    def __init__(self, source: Source, prepared: Prepared | None = None, straight_through: bool = False, make: Make = built):
        self.source, self._straight_through, self._make = source, straight_through, make
        self.memory = Memory()
        self._derived = prepared is not None
        self._sessions = SESSIONS if prepared is None else SessionCache(passing=True)
        if prepared is not None:
            self.prepared = prepared
        else:
            self._runnable  # noqa: B018  (what onnxruntime does not run is refused now)

    @property
    def proto(self) -> onnx.ModelProto:
        """The model as loaded, external data inside. Not to be changed."""
        return self.source.proto

    @property
    def digest(self) -> str:
        """The sha256 of the model's file, in hexadecimal digits."""
        return self.source.digest

    @cached_property
    def _runnable(self) -> Runnable:
        return runnable(self.source.proto)

    @cached_property
    def prepared(self) -> Prepared:
        """The graph that is differentiated, and the passes that led to it."""
        with span("load"):
            return prepare(self._runnable.proto, self._runnable.session, self._straight_through)

    @cached_property
    def straight_through(self) -> Model:
        """The same model, explained with the rounding of its fixed quantisers, which gradients pass straight through.

        By default a quantised model is explained through its dequantised twin, which leaves the rounding out. (Bengio et
        al. 2013, arXiv:1308.3432: the derivative of rounding, zero almost everywhere, is taken to be one.)
        """
        return self if self._straight_through else Model(self.source, straight_through=True)

    @property
    def graph(self) -> ir.Graph:
        """The prepared graph."""
        return self.prepared.model.graph

    @cached_property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs (not initializers that an old exporter lists among them)."""
        return tuple(tensor_info(i, self._runnable.narrow) for i in self._runnable.session.ort.get_inputs())

    @cached_property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs as declared."""
        return tuple(tensor_info(o) for o in self._runnable.session.ort.get_outputs())

    @cached_property
    def info(self) -> ModelInfo:
        """Facts, differentiability per input, applicability per method, passes and their measured error."""
        return inspect_model(self)

    @property
    def size_bytes(self) -> int:
        """Of the file, external data included."""
        return self.source.size_bytes

    @cached_property
    def default_output(self) -> str:
        """The first float output.

        Raises:
            TargetOutOfRange: There is none.
        """
        for value in self.graph.outputs:
            if value.dtype is None or value.dtype in FLOATS:
                return value.name or ""
        raise TargetOutOfRange("the model has no float output", expected="a float output to explain")

    @cached_property
    def frozen_batch(self) -> int | None:
        """The batch size that the exporter fixed: axis 0 of every input and output has this static length."""
        shapes = [shape_of(v) for v in (*self.graph.inputs, *self.graph.outputs)]
        first = {s[0] if s is not None and len(s) > 1 else None for s in shapes}
        size = first.pop() if len(first) == 1 else None
        return size if isinstance(size, int) else self.prepared.opened

    @cached_property
    def stackable(self) -> bool:
        """Whether every input has a leading axis that may hold more items (symbolic or frozen)."""
        shapes = [shape_of(v) for v in self.graph.inputs]
        return self.frozen_batch is not None or all(s is not None and len(s) > 0 and not isinstance(s[0], int) for s in shapes)

    def batched(self, feeds: Mapping[str, Array]) -> bool:
        """Whether axis 0 of inputs and outputs counts items."""
        main = [shape_of(v) for v in self.graph.inputs if v.name in feeds and (v.dtype in FLOATS or len(feeds) == 1)]
        shapes = main or [shape_of(v) for v in self.graph.inputs]
        open_axis = any(s is None or (len(s) > 0 and not isinstance(s[0], int)) for s in shapes)
        return self.frozen_batch is not None or open_axis

    def leads_with_items(self, name: str) -> bool:
        """Whether axis 0 of one input counts items, where any does: it is frozen, or open."""
        shape = next(shape_of(v) for v in self.graph.inputs if v.name == name)
        return self.frozen_batch is not None or shape is None or (len(shape) > 0 and not isinstance(shape[0], int))

    # Running ------------------------------------------------------------------------------------------------------

    def predict(self, feeds: Mapping[str, Any], /) -> dict[str, Array]:
        """The untouched model's outputs by plain onnxruntime.

        Raises:
            InvalidInput: Lists every violation.
        """
        checked = check_feeds(feeds, self.inputs, self.frozen_batch)
        return self.plain(checked)

    def plain(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        """All outputs of the untouched model for checked feeds; those of a ZipMap are lists of dicts."""
        return self.run(self._runnable.session, feeds)

    def run(self, session: Session, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> dict[str, Array]:
        """One of this model's sessions on checked feeds, in batches that the exporter allows or a pass opened.

        Raises:
            InvalidInput: onnxruntime does not take the inputs.
        """
        opened = self.prepared.opened is not None and session is not self._runnable.session
        try:
            return run_in_batches(session, feeds, None if opened else self.frozen_batch, names)
        except Exception as error:
            # onnxruntime's exception classes share no public base below Exception
            text = " ".join(str(error).split())[:400]
            raise InvalidInput(f"onnxruntime could not run the model on these inputs: {text}",
                               to_do="Check shapes and values against what the model was exported for") from error  # fmt: skip

    def internal(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Feeds as the prepared graph takes them: float32 where the model was upcast from half precision."""
        if not self.prepared.upcast:
            return dict(feeds)
        return {k: a.astype(np.float32) if a.dtype == np.float16 else a for k, a in feeds.items()}

    def value_of(self, feeds: Mapping[str, Array], name: str) -> Array:
        """Any float value of the graph for these feeds: an output, or an inner value."""
        if name in self._runnable.session.outputs:
            value = self.run(self._runnable.session, feeds, [name])[name]
            if isinstance(value, np.ndarray):
                return value
        find_value(self.graph, name)
        session = self.session(("forward", name), partial(forward_graph, self.prepared.model, name))
        return self.run(session, self.internal(feeds), [name])[name]

    def session(self, key: Hashable, build: Callable[[], ir.Model]) -> Session:
        """The cached session of a graph derived from this model; ``key`` names the graph."""
        model = None if self._derived else (self.digest, self._straight_through)
        return self._sessions.get((model, key), partial(self._make, key, build))

    def unverified(self, key: Hashable) -> bool:
        """Whether an explained graph has not been held against the plain model yet."""
        return not self._derived and key not in self.memory.verified

    # Explaining ---------------------------------------------------------------------------------------------------

    def explain(
        self, feeds: Mapping[str, Any], /, method: str = "gradient", target: Target = None, *,
        inputs: Sequence[str] | None = None, seed: int = 0, progress: Progress | None = None, watch: Watch | None = None,
        **parameters: Any,
    ) -> Attribution:  # fmt: skip
        """Explains what the target of each item owes to its inputs.

        Args:
            feeds: Input name → array; all inputs of the model, first axis = items where the model has a batch axis.
            method: A name from :func:`explainsvc.methods`.
            target: int, list of ints (one per item), ``{"output", "index" | "seed" | "against"}``, or None (arg-max).
            inputs: Names of the inputs to explain; by default all float inputs that the method reaches. Values inside the
                model name a layer: the rest from there on is explained as a model of its own, baselines included.
            seed: Of all random numbers.
            progress: Called with (done, total, what) on long work.
            watch: Hears of the estimates on the way; see :data:`explainsvc.method.Watch`.
            parameters: As the method's card lists them.

        Raises:
            ExplainsvcError: See :mod:`explainsvc.errors`; every failure has its own class.
        """
        return explain(self, feeds, method, target, inputs, seed, progress or silent, parameters, watch or silent)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What holds for every explanation of this model."""
        return (*(f"the model was changed: {note}" for note in self._runnable.notes), *self.prepared.caveats)

    def compile(
        self, /, method: str = "gradient", target: Target = None, *, inputs: Sequence[str] | None = None, **parameters: Any
    ) -> CompiledExplanation:
        """The explained graph as an ONNX model: inputs + ``explain.seed`` → outputs + ``explain.<input>``.

        Args:
            method: A method that is one graph.
            target: Only its output matters ({"output": name}); the index is given by the seed at run time.
            inputs: As in :meth:`explain`; the graph is the whole model in any case.
            parameters: As in :meth:`explain`.
        """
        found = find_method(method)
        params: Any = read_params(found.params, parameters, method)
        output, _ = target_name(self, found, target)
        inner = inner_values(self, inputs or ())
        wanted = tuple(inputs or ()) if inner else wanted_inputs(self, inputs, found, output)
        graph = build(self, method, params, program_of(found, params), output, wanted)
        return CompiledExplanation(ir.to_proto(declare_ranks(graph, self.outputs)))

    def ledger(
        self, feeds: Mapping[str, Any], /, method: str, target: Target = None, *, inputs: Sequence[str] | None = None,
        **parameters: Any,
    ) -> Ledger:  # fmt: skip
        """The books of one explanation: what every node received, handed on, and lost to its bias and to ε.

        Arguments as in :meth:`explain`; all numbers are sums over all items. (Conservation: Bach et al. 2015, eq. 2.)

        Raises:
            MethodNotApplicable: The method shares out no relevance: its values do not sum to the output by rules.
            InvalidInput: Items that do not fill the batches of a model whose batch size is fixed.
        """
        return ledger(self, feeds, method, target, inputs=inputs, **parameters)

    def dry_run(self, /, method: str, target: Target = None, *, inputs: Sequence[str] | None = None, **parameters: Any) -> DryRun:
        """Which rule every node between inputs and target would get, in the order of the graph; arguments as in :meth:`compile`.

        Raises:
            MethodNotApplicable: The method is not one graph, or refuses the model as a whole.
            InvalidParameter: Wrong parameters, such as a rulebook with wrong rows.
        """
        return dry_run(self, method, target, inputs=inputs, **parameters)

    def with_weights(self, weights: Mapping[str, Array]) -> Model:
        """A model whose named initializers (of the prepared graph) hold other numbers of the same shape and type."""
        from explainsvc.weights import replace_weights

        return replace_weights(self, weights)

    def audit(self, feeds: Mapping[str, Any], /, **arguments: Any) -> Report:
        """Runs checks on methods and returns the report; arguments as in :meth:`audit_rows`."""
        from explainsvc.checks.audit import audit

        return audit(self, feeds, **arguments)

    def audit_rows(self, feeds: Mapping[str, Any], /, **arguments: Any) -> Iterator[Row]:
        """The rows of :meth:`audit` as they are computed; closing the iterator cancels the rest."""
        from explainsvc.checks.audit import audit_rows

        return audit_rows(self, feeds, **arguments)
