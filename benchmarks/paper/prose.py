"""The sentences of ``RESULTS.md``; the numbers come from the reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TITLE = "# The paper, reproduced"
SETTING = """\
Section 3 of Adebayo et al. 2018, "Sanity Checks for Saliency Maps" (arXiv:1810.03292v3), by `model.audit` with the check
`parameter_randomization`: 200 held-out MNIST digits on a CNN and an MLP of three hidden layers each, and twelve photographs on
SqueezeNet; weights re-initialised from the output to the input (cascading) and one unit at a time (independent). Written by

```sh
python -m benchmarks.paper --data mnist_t10k.npz --untrained MODEL --squeezenet MODEL --photographs DIR
```

which trains both networks (extra `train`, seeded), keeps models and reports in `.cache/paper/` and does not make them again.

What differs from the paper:

- MNIST here is its test file alone: 8,000 digits to train on, 2,000 held out. The CNN has half, the MLP a quarter of the paper's
  widths; layers, initialisation and optimiser are those of the authors' scripts, without weight decay.
- New weights come from a full normal distribution and biases become zero (`he_normal`); the paper draws from a truncated normal
  distribution, and its scripts set the CNN's biases to 0.1. Ranks of a ReLU network without biases do not depend on
  the scale of its weights. See "What the draw decides".
- HOG needs pictures of 32 × 32 or more in cells of 16 × 16, so that MNIST has none; the paper, too, gives SSIM and HOG of
  ImageNet only. Our SSIM is of |map|, theirs of the signed map; HOG is compared by ranks, theirs by Pearson.
- Grad-CAM and guided Grad-CAM do not apply to an MLP: without convolutions there are no positions. Grad-CAM maps without any
  positive evidence are constant and left out of n.
- SqueezeNet stands in for Inception v3, in six blocks of units; SmoothGrad and VarGrad take 10 noisy copies and integrated
  gradients 10 points there (50, 25 and 50 on MNIST), and the two noisy ones are left out of the independent order.
- The verdict by a 95 % interval against 0.5 is ours; the paper judges by looking at the curves."""
READING = """\
What this says, and what it does not:

- **Signed and unsigned ranks tell two stories.** For the products with the input (gradient ⊙ input, integrated gradients) the
  ranks of |map| hardly notice that all weights are random, while those of the signed map are gone after the first unit: the
  paper's dichotomy, here at its sharpest. For guided backprop it is the other way round on MNIST: the ranks of the signed map
  outlast those of |map| until the lowest unit is random.
- **"Insensitive" is about the ranks of |map|.** Integrated gradients get that verdict on MNIST because the input is a factor of
  the map (Sundararajan & Taly 2018, arXiv:1806.04205); the next table takes the background away. The verdict is the rule's,
  the cause is the data's.
- **Invariance to the upper layers is not insensitivity.** Guided backprop keeps the order of its maps while the upper half of the
  units is drawn anew, and on the MLP loses all of it with the lowest one. After all units its verdict on the CNN hangs on what
  the biases become (see "What the draw decides"): what is left is the outline of the digit, not something learned.
- **Guided Grad-CAM is less invariant than the paper's** on this CNN: its factor Grad-CAM falls at once, as the paper says of
  Grad-CAM, and only the signs that guided backprop gives it stay.
- **A low similarity proves nothing.** The control `random` has the lowest of all. Yona & Greenfeld 2021 (arXiv:2110.14297) show
  that the outcome depends on the task as well as on the method: on MNIST the background decides. Binder et al. 2023
  (arXiv:2211.12486) show that noisy maps win such comparisons, and that randomising from the output keeps the scales of the
  activations below. Hedström et al. 2024 (arXiv:2401.06465) answer both with what are here `smooth_mprt` and `efficient_mprt`."""
STROKES = """\
Of the digits' pixels {zeros} are exactly zero. A product with the input is zero there under any weights, so that the ranks of its
|map| agree on most pixels before any model is asked. Over the strokes alone, after all units are random:"""
DRAWS = """\
Sixty digits, the CNN, cascading, after all units. Between seeds and distributions |map| differs by hundredths, guided backprop's
signed map by more. What becomes of the biases weighs heavier: where they are zero, a ReLU unit that sees only the black
background is at zero, the gradient there is exactly zero, and maps keep the digit's outline (last row of the figure of maps). So
the gradient's |map| rises again at the last unit, and guided backprop stays above the limit of 0.5; with biases drawn as well,
both fall."""
UNTRAINED = """\
The gradient passes parameter randomisation on an untrained model too: its maps change, though there was nothing to lose. The
check `learned` asks the model first: by the accuracy on these 200 digits, against 19 models whose weights were drawn anew, and,
without labels, by the weights' spectra alone."""


@dataclass(frozen=True)
class About:
    """A model's heading, what is known of it, and the input whose maps are shown."""

    title: str
    facts: tuple[str, ...]
    shown: int = 0


MODELS: Mapping[str, About] = {
    "cnn": About(
        "CNN on MNIST",
        ("conv 5×5 of 16 and 32 channels, each with a 2×2 max-pool, dense 512, ten logits",),
    ),
    "mlp": About("MLP on MNIST", ("dense 625, 375 and 125, ten logits",)),
    "squeezenet": About(
        "SqueezeNet 1.0 on photographs",
        ("twelve photographs, resized and cropped to 224 × 224, BGR less Caffe's mean; explained is the logit of the arg-max",),
        4,
    ),
}
