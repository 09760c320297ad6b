"""What a check is measured on: explained inputs, with every part made anew in each round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import explainsvc
from explainsvc.check import Subject, always
from explainsvc.checks import audit
from explainsvc.checks.course import Course
from explainsvc.checks.plan import Question, plan_audit


def subject_of(model: explainsvc.Model, feeds: Mapping[str, NDArray[np.float32]], method: str, check: str) -> Subject:
    """The inputs, explained by one method and the check's controls."""
    plan = plan_audit(model, feeds, Question([method], checks=[check]))
    return replace(audit.subject_of(plan, Course.of(plan)), once=always)
