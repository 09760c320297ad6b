"""parameter_randomization: Do the maps change when the model's weights are replaced by random numbers?

Computes: Per step, parameter units (or blocks of them) are re-initialised and each method explains the same target of the same
    inputs again. The maps are compared with those of the untouched model: Spearman's rank correlation of |map| and of the
    signed map, Pearson's, sign agreement, top-k intersection, and of pictures SSIM and Spearman's of HOG. Step 0 is the
    untouched model, rebuilt as all steps are: it must give 1. Beside it, how far the model's output changed: agreement of
    the arg-max (accuracy too, where labels are given) and correlation of the outputs.
Output: Rows (method, step, unit, similarity): mean, standard deviation, 95 % bootstrap interval and n over inputs; per step
    the sha256 of the randomised model as an ONNX file, which `explainsvc randomise` writes.
Needs: A model with learned tensors; five inputs or more for a verdict.
Cost: (units + 1) × methods explanations per input, and as many sessions as graphs.
Properties: A method that fails does not depend on what the model learned. Passing is necessary for a faithful map,
    not sufficient: random numbers pass.
Limits: One draw of the weights per unit and seed. Input values that enter a map as a factor keep it correlated
    (Sundararajan & Taly 2018). Biases that become zero leave ReLU units over an empty (zero) background at zero, and the
    gradient there: maps keep the input's outline. `normal_same_std` draws biases too. Constants that only a Sub, a Div or a
    scalar Mul uses are not counted as learned. A BatchNormalization that was folded into its convolution has no statistics
    that could be kept.
Source: Adebayo et al. 2018, arXiv:1810.03292, section 3; SSIM: Wang et al. 2004, eq. 13, of |map| scaled to 0…1, per channel;
    HOG: Dalal & Triggs 2005, cells of 16 × 16, pictures of 32 × 32 or more; verdict by interval: ours.
Differs: Layers of the same shape get different numbers (independent seed per unit; Quantus seeds each layer alike), in the
    order of the graph (Quantus: in that of their definition); constant maps count as missing, never as 1 (they may end a
    run of Quantus in an error). The change of the model's output is reported. HOG is compared by ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

from explainsvc.cards import read_card
from explainsvc.check import Check, Subject
from explainsvc.checks import maps, verdicts
from explainsvc.checks._randomised import Walk, walk, work
from explainsvc.checks.rows import Row

NAME = "parameter_randomization"


def run(subject: Subject, p: Walk) -> Iterator[Row]:
    """The rows of step 0, 1, … as they are computed."""
    return walk(NAME, subject, p, lambda explained: explained.maps, maps.answer_of)


CHECK = Check(
    read_card(NAME, __doc__, Walk),
    Walk,
    run=run,
    judge=verdicts.judge,
    rule=verdicts.RULE,
    family="randomization",
    controls=verdicts.CONTROLS,
    main="spearman_abs",
    work=work,
)
