"""The line before the workers: bounded, and fair between models."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from explainsvc.errors import QueueFull

T = TypeVar("T")


@dataclass(eq=False)
class Place(Generic[T]):
    """Somebody who waits: for which model, and what will be handed out."""

    model: str
    given: asyncio.Future[T]


@dataclass(eq=False)
class Line(Generic[T]):
    """Who waits, a queue a model; models are served in turn, so that a busy one keeps nobody else waiting."""

    limit: int
    queues: OrderedDict[str, deque[Place[T]]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return sum(map(len, self.queues.values()))

    def require_room(self) -> None:
        """One more may wait; QueueFull otherwise."""
        if len(self) >= self.limit:
            raise QueueFull(f"{len(self)} requests wait already", to_do="Send the request again in a moment")

    def join(self, model: str) -> Place[T]:
        """A place at the end of the model's queue.

        Raises:
            QueueFull: As many wait as may wait.
        """
        self.require_room()
        place = Place(model, asyncio.get_running_loop().create_future())
        self.queues.setdefault(model, deque()).append(place)
        return place

    def leave(self, place: Place[T]) -> None:
        """Give up a place that may have been served already."""
        queue = self.queues.get(place.model)
        if queue is not None and place in queue:
            queue.remove(place)
            if not queue:
                del self.queues[place.model]

    def serve(self, given: T) -> bool:
        """Hand something to the first of the model whose turn it is; False when nobody waits."""
        while self.queues:
            model, queue = next(iter(self.queues.items()))
            place = queue.popleft()
            self.queues.move_to_end(model)
            if not queue:
                del self.queues[model]
            if not place.given.done():
                place.given.set_result(given)
                return True
        return False
