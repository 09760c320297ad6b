"""Converters that onnx2torch lacks, and forms of its own that read weights as operands; importing them registers them."""

from __future__ import annotations

from explainsvc.training.converters import activations as activations
from explainsvc.training.converters import later as later
from explainsvc.training.converters import layers as layers
from explainsvc.training.converters import norms as norms
from explainsvc.training.converters import pools as pools
from explainsvc.training.converters import recurrent as recurrent
from explainsvc.training.converters import reductions as reductions
from explainsvc.training.converters import resize as resize
from explainsvc.training.converters import shaping as shaping
