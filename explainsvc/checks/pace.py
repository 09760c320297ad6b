"""How long an audit will still take: from what its methods and the finished parts of its checks have taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from explainsvc.check import Part, Work


@dataclass(frozen=True)
class Standing:
    """How far an audit is: parts done, parts in all, what is being done, and the seconds that it will still take.

    ``remaining`` is None until every method has explained the inputs once, for until then nothing is known.
    """

    done: int
    total: int
    what: str
    remaining: float | None


@dataclass(eq=False)
class Pace:
    """The times of an audit so far.

    A part is expected to take as long as its check says in explanations by its method and in forwards, both of which are
    timed on the untouched model. As soon as parts of a check are finished, what they took beside what was expected scales
    what is expected of the others.

    Attributes:
        works: Check → what it has to do, in the order of the plan.
        forward: Seconds of a forward on all inputs.
        explanations: Method → seconds of its explanation of all inputs.
    """

    works: Mapping[str, Work]
    forward: float
    explanations: Mapping[str, float]
    _parts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _expected: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _taken: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _over: set[str] = field(default_factory=set)

    def finished(self, part: Part, seconds: float) -> None:
        """A part has taken this long."""
        check = part[0]
        self._parts[check] += 1
        self._expected[check] += self._of(self.works[check], part[-1])
        self._taken[check] += seconds

    def over(self, check: str) -> None:
        """Nothing is left of a check, whatever it had to do."""
        self._over.add(check)

    def done(self) -> int:
        """Parts that are finished, or left out of a check that is over."""
        return sum(self._size(c) if c in self._over else min(self._parts[c], self._size(c)) for c in self.works)

    def total(self) -> int:
        """Parts of all checks."""
        return sum(map(self._size, self.works))

    def remaining(self) -> float:
        """Seconds."""
        return sum(self._left(check) for check in self.works if check not in self._over)

    def _left(self, check: str) -> float:
        work = self.works[check]
        whole = work.per_method * sum(self._of(work, m) for m in self.explanations) + work.shared * self._of(work, "")
        scale = self._taken[check] / self._expected[check] if self._expected[check] > 0 else 1.0
        return max(0.0, whole - self._expected[check]) * scale

    def _of(self, work: Work, method: str) -> float:
        """What a part is expected to take; of the model itself as much as of a method on the average."""
        mean = sum(self.explanations.values()) / max(1, len(self.explanations))
        return work.explanations * self.explanations.get(method, mean) + work.forwards * self.forward

    def _size(self, check: str) -> int:
        return self.works[check].per_method * len(self.explanations) + self.works[check].shared
