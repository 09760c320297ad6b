"""The groups of lines; ``python -m benchmarks.groups GROUP SPEC SETTINGS`` measures one line and prints it as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import cascading, first, flipping, footprint, growth, overhead, passes, perturbation, sampling, service
from benchmarks.contest import Record, Settings


@dataclass(frozen=True)
class Group:
    """A script of lines.

    Attributes:
        title: Its heading.
        legend: What is measured, as Markdown.
        specs: quick → the lines, as data.
        measure: A line → its record.
    """

    title: str
    legend: str
    specs: Callable[[bool], Iterable[dict[str, Any]]]
    measure: Callable[[dict[str, Any], Settings], Record]


def _group(module: Any) -> Group:
    return Group(module.TITLE, module.LEGEND, module.specs, module.measure)


GROUPS: Mapping[str, Group] = {
    "gradients": Group(passes.GRADIENTS, passes.LEGEND, passes.gradients, passes.measure),
    "relevance": Group(passes.RELEVANCE, "As above.", passes.relevance, passes.measure),
    "cams": Group(passes.CAMS, "As above.", passes.cams, passes.measure),
    "sampling": _group(sampling),
    "perturbation": _group(perturbation),
    "cascading": _group(cascading),
    "flipping": _group(flipping),
    "memory": _group(footprint),
    "first": _group(first),
    "service": _group(service),
    "overhead": _group(overhead),
    "growth": _group(growth),
}

if __name__ == "__main__":
    name, spec, settings = sys.argv[1:]
    print(json.dumps(GROUPS[name].measure(json.loads(spec), Settings(**json.loads(settings)))))
