"""The models that a worker keeps, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field

from explainsvc.model import Model


@dataclass(eq=False)
class Kept:
    """Models by digest, the least recently used dropped first once their files exceed the budget; the newest always stays.

    ``proven``: by digest, for which questions the model's items were found not to depend on each other, or to do so.
    """

    budget: int
    models: OrderedDict[str, Model] = field(default_factory=OrderedDict)
    proven: defaultdict[str, dict[object, bool]] = field(default_factory=lambda: defaultdict(dict))

    def get(self, digest: str) -> Model | None:
        """The model, now the most recently used, if it is here."""
        if digest in self.models:
            self.models.move_to_end(digest)
        return self.models.get(digest)

    def add(self, digest: str, model: Model) -> Model:
        """The model, kept from now on."""
        self.models[digest] = model
        self.models.move_to_end(digest)
        while len(self.models) > 1 and sum(one.size_bytes for one in self.models.values()) > self.budget:
            dropped, _ = self.models.popitem(last=False)
            self.proven.pop(dropped, None)
        return model

    @property
    def digests(self) -> tuple[str, ...]:
        """Of all models that are here."""
        return tuple(self.models)
