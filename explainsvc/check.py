"""What a check is: a card, Params, a generator of rows, and a rule that turns rows into verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from explainsvc.autograd.shapes import Array
from explainsvc.cards import Card
from explainsvc.method import Method, Progress, Result
from explainsvc.target import ResolvedTarget

if TYPE_CHECKING:
    from explainsvc.checks.rows import Row
    from explainsvc.model import Model

Family = Literal["randomization", "axioms", "faithfulness", "localization", "complexity", "selection", "robustness"]
Word = Literal["sensitive", "insensitive", "pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Explained:
    """A method on the untouched model: what all changed models are compared with.

    ``target`` is resolved here, once; ``maps`` are the result's values as [item, element].
    """

    method: Method
    params: Any
    wanted: tuple[str, ...]
    target: ResolvedTarget
    result: Result
    maps: Array
    asked: bool
    caveats: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.card.name

    @property
    def is_control(self) -> bool:
        """Whether it never looks at the model."""
        return self.method.family == "control"


@dataclass(frozen=True)
class Subject:
    """What a check works on: a model, inputs, the methods' maps on it.

    ``output`` is the model output whose change is reported; ``labels`` are true classes per item, or None; ``refused``
    are methods that were asked for and could not explain the untouched model, with the reason.
    """

    model: Model
    feeds: dict[str, Array]
    output: str
    explained: tuple[Explained, ...]
    labels: Array | None
    seed: int
    progress: Progress
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A word, and the numbers that led to it as a sentence."""

    word: Word
    reason: str


@dataclass(frozen=True)
class Check:
    """A check as the registry holds it.

    Attributes:
        card: What it computes.
        params: Dataclass of its parameters.
        run: ``(subject, params) -> rows``, one by one as they are computed.
        judge: ``(subject, params, rows) -> {method: verdict}`` for every method that was asked for.
        rule: The verdict's rule in words.
        family: What it asks about, as the report groups checks.
        controls: Methods that are run beside those asked for.
        axis: What ``Row.amount`` is, in words, for the axis of a figure; "" where rows have no amount.
        main: The measure that a figure of all methods shows; "" for the first.
        opening: ``(subject, params) -> rows``: the first ones of ``run``, where they need no method's maps. They are told
            while the methods explain the untouched model.
    """

    card: Card
    params: type
    run: Callable[[Subject, Any], Iterator[Row]]
    judge: Callable[[Subject, Any, Sequence[Row]], Mapping[str, Verdict]]
    rule: str
    family: Family
    controls: tuple[str, ...] = ()
    axis: str = ""
    main: str = ""
    opening: Callable[[Subject, Any], Iterator[Row]] | None = None
