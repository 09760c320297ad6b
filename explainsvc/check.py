"""What a check is: a card, Params, a generator of rows, and a rule that turns rows into verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from explainsvc.autograd.shapes import Array
from explainsvc.cards import Card
from explainsvc.method import Method, Result
from explainsvc.target import ResolvedTarget

if TYPE_CHECKING:
    from explainsvc.checks.rows import Row
    from explainsvc.model import Model

Family = Literal["randomization", "axioms", "faithfulness", "localization", "complexity", "selection", "robustness"]
Word = Literal["sensitive", "insensitive", "pass", "fail", "inconclusive"]
Part = tuple[str, ...]
"""Names a piece of an audit's work that is done as a whole: the check first, the method that it is about last."""


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


Once = Callable[[Part, Callable[[], "Iterable[Row]"]], "Iterator[Row]"]


def always(_part: Part, make: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """The rows of a part, made now."""
    yield from make()


@dataclass(frozen=True)
class Subject:
    """What a check works on: a model, inputs, the methods' maps on it.

    ``output`` is the model output whose change is reported; ``labels`` are true classes per item, or None; ``refused``
    are methods that were asked for and could not explain the untouched model, with the reason. ``once`` gives the rows of a
    part: those of an earlier run where it is finished, else those that are made now. What a part makes must not depend on
    which other parts are made in this run.
    """

    model: Model
    feeds: dict[str, Array]
    output: str
    explained: tuple[Explained, ...]
    labels: Array | None
    seed: int
    once: Once = always
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A word, and the numbers that led to it as a sentence."""

    word: Word
    reason: str


@dataclass(frozen=True)
class Work:
    """What a check has to do, for its progress and the time left.

    Attributes:
        per_method: Parts for each method.
        shared: Parts about the model itself.
        explanations: What a part costs, in explanations of all inputs by its method, roughly.
        forwards: And in forwards of the model on all inputs.

    The two costs count only until a part of the check has been timed.
    """

    per_method: int = 1
    shared: int = 0
    explanations: float = 1.0
    forwards: float = 0.0


def one_part_a_method(_model: Model, _params: Any) -> Work:
    """The work of a check that looks at one method at a time."""
    return Work()


@dataclass(frozen=True)
class Check:
    """A check as the registry holds it.

    Attributes:
        card: What it computes.
        params: Dataclass of its parameters.
        run: ``(subject, params) -> rows``, one by one as they are computed.
        judge: ``(subject, params, rows) -> {method: verdict}`` for every method that was asked for, or for the model.
        rule: The verdict's rule in words.
        family: What it asks about, as the report groups checks.
        controls: Methods that are run beside those asked for.
        axis: What ``Row.amount`` is, in words, for the axis of a figure; "" where rows have no amount.
        main: The measure that a figure of all methods shows; "" for the first.
        work: ``(model, params) -> Work``.
        of_model: Its only verdict is on the model and bears the name "model"; no method is judged.
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
    work: Callable[[Model, Any], Work] = one_part_a_method
    of_model: bool = False
