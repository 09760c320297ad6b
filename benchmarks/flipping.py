"""``python -m benchmarks.flipping``: what pixel flipping adds to the forwards that it needs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import explainsvc
from benchmarks.networks import images, network
from benchmarks.timing import Times, rotate
from explainsvc.check import Subject
from explainsvc.checks import maps, pixel_flipping
from explainsvc.checks._flipping import MOST_ROWS, request_of
from explainsvc.checks.audit import _subject
from explainsvc.checks.plan import Question, plan_audit
from explainsvc.variations import target_values

TARGET = 1.15
"""The check's time over its own plain forwards must not exceed it; Quantus 0.5.3 takes 5.8."""
STEPS = 20
