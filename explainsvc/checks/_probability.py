"""The softmax probability of what was explained, where the model has one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from explainsvc.autograd.shapes import Array
from explainsvc.explained import logit_before
from explainsvc.method import Request


@dataclass(frozen=True)
class Reading:
    """What is read off the model after each step.

    Attributes:
        output: The value that is read.
        words: What the number is.
        logarithmic: The value holds logarithms of probabilities.
    """

    output: str
    words: str
    logarithmic: bool = False

    def __call__(self, request: Request) -> Array:
        """One number per row, float64."""
        return self.number(request, self.value(request))

    def value(self, request: Request) -> Array:
        """The whole value, of which the number is one element."""
        return request.model.value_of(request.feeds, self.output)

    def number(self, request: Request, value: Array) -> Array:
        """The explained element of ``value`` per row, float64."""
        number = request.target.value(value, request.batched)
        return np.exp(number) if self.logarithmic else number


def probability_of(request: Request) -> Reading:
    """The probability that the model's own Softmax gives the explained class, else S itself.

    A method that explains the logit is still asked about the probability: the curves of all methods have the same unit.
    """
    model, target = request.model, request.target
    reading = Reading(model.default_output, f'softmax probability "{model.default_output}"')
    logit = logit_before(model.graph, reading.output)
    if logit is None or target.index is None or target.output not in (logit.name, reading.output):
        return Reading(target.output, f"{target.description}: no softmax probability belongs to it")
    return replace(reading, logarithmic=logit.operator == "LogSoftmax")
