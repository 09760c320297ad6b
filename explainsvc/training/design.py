"""What a ROAR benchmark is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explainsvc.cards import read_params
from explainsvc.errors import InvalidParameter, Violation
from explainsvc.methods import find_method
from explainsvc.training.removal import ORDERS, REMOVE, UNITS, Estimator

NAME = "roar"
RANDOM = Estimator("random")
BASELINES = (RANDOM, Estimator("sobel"))
SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Hooker et al. 2019, section 3."""


@dataclass(frozen=True)
class Design:
    """What is removed, and how often models are retrained.

    Attributes:
        estimators: Those that are judged; the baselines random and sobel run beside them.
        orders: ``roar``, ``kar`` or both; the first is judged.
        shares: Of the features that are replaced; 0 is the untouched set, which all estimators have in common.
        unit: ``scalars`` of the flattened input, as in the paper, or ``pixels``.
        repetitions: Retrainings of each, from one random initialisation after the other.
        removed: The input that features are removed from; "" for the only one.
        seed: Of the maps and of ties. The retrainings take that of their settings, counted up.
    """

    estimators: tuple[Estimator, ...]
    orders: tuple[str, ...] = (REMOVE,)
    shares: tuple[float, ...] = SHARES
    unit: str = "scalars"
    repetitions: int = 5
    removed: str = ""
    seed: int = 0

    @property
    def everyone(self) -> tuple[Estimator, ...]:
        """The estimators, and those baselines that are not among them."""
        asked = {estimator.name for estimator in self.estimators}
        return (*self.estimators, *(baseline for baseline in BASELINES if baseline.name not in asked))

    @property
    def random(self) -> int:
        """The number of the random ranks."""
        return [estimator.name for estimator in self.everyone].index(RANDOM.name)

    def require_sound(self) -> None:
        """Raises InvalidParameter, which lists everything that is wrong, or UnknownMethod."""
        names = [estimator.name for estimator in self.everyone]
        twice = sorted({name for name in names if names.count(name) > 1})
        wrong = {
            "estimators": f"has {', '.join(twice)} twice" if twice else "" if self.estimators else "is empty",
            "orders": "" if self.orders and set(self.orders) <= set(ORDERS) else f"is {self.orders}, expected some of {ORDERS}",
            "shares": "" if _rising(self.shares) else f"is {self.shares}, expected rising numbers from 0 to 1, one above 0",
            "unit": "" if self.unit in UNITS else f"is {self.unit!r}, expected one of {UNITS}",
            "repetitions": "" if self.repetitions > 0 else f"is {self.repetitions}, expected 1 or more",
        }
        violations = [Violation(f"design.{field}", words) for field, words in wrong.items() if words]
        if violations:
            raise InvalidParameter("the design is not sound", where=NAME, violations=violations)
        for estimator in self.estimators:
            params: type[Any] = find_method(estimator.method, "design.estimators").params
            read_params(params, estimator.parameters, estimator.method)


def _rising(shares: tuple[float, ...]) -> bool:
    inside = all(0 <= share <= 1 for share in shares)
    return inside and sorted(set(shares)) == list(shares) and any(share > 0 for share in shares)
