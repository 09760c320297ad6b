"""What ``--inputs`` holds: arrays, or a picture and how it becomes the model's input."""

from __future__ import annotations

import argparse

from explainsvc import arguments, images
from explainsvc.arguments import UsageError
from explainsvc.drawings import Given
from explainsvc.engines import Engine
from explainsvc.images import Preprocessing


def preprocessing(options: argparse.Namespace) -> Preprocessing:
    """What the pixel options say."""
    return Preprocessing(options.scale, options.mean, options.std, options.bgr, options.layout, options.channels, options.size)


def given_to(engine: Engine, options: argparse.Namespace) -> Given:
    """The arrays of an ``.npz``, or a picture as the model's only input."""
    if not images.is_image(options.inputs):
        feeds = arguments.read_inputs(options.inputs)
        return Given(feeds, {name: list(values) for name, values in feeds.items() if values.ndim > 0}, options.layout)
    inputs = engine.inputs()
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise UsageError(f"{options.inputs}: an image fills one input, the model has {names}; give an .npz with all")
    tensor = inputs[0]
    how = _in_force(preprocessing(options), engine.preprocessing())
    picture = images.preprocess(options.inputs, tensor.shape, tensor.dtype, how)
    return Given({tensor.name: picture.tensor}, {tensor.name: [picture.rgb]}, picture.layout)


def _in_force(said: Preprocessing, kept: Preprocessing | None) -> Preprocessing:
    """What is kept with the model, unless the options say something; that then may not be something else."""
    if kept is None or kept == said:
        return said
    if said == Preprocessing():
        return kept
    raise UsageError(
        f"the server keeps another preprocessing with the model: {kept}; leave out the options of pixels to use it, "
        "or change it with `explainsvc preprocessing`"
    )
