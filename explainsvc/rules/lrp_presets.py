"""LRP presets and zennit's composites, as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from explainsvc.rules.lrp_rulebooks import Row, Table

CONV, DENSE, LINEAR = ("convolution",), ("dense",), ("linear",)
PRESET_EPSILON = 0.1
"""ε at dense layers of LRP-PA and LRP-PB (iNNvestigate's presets; Kohlbrenner et al. 2020, arXiv:1910.09840, write LRP-CMP)."""


def everywhere(rule: str, **parameters: Any) -> Table:
    """One rule at every linear layer."""
    return Table((Row(rule, LINEAR, parameters),))


def flat_first(table: Table) -> Table:
    """Flat relevance at the first linear layers, the table at all others."""
    return Table((Row("lrp_flat", LINEAR, position="first"), *table.rows), table.output)


def epsilon_plus(epsilon: float) -> Table:
    """z⁺ at convolutions, ε at dense layers (zennit's EpsilonPlus; Kohlbrenner et al. 2020, arXiv:1910.09840)."""
    return Table((Row("lrp_z_plus", CONV), Row("lrp_epsilon", DENSE, {"epsilon": epsilon})))


def epsilon_alpha2_beta1(epsilon: float) -> Table:
    """α2β1 at convolutions, ε at dense layers (zennit's EpsilonAlpha2Beta1)."""
    excited = Row("lrp_alpha_beta", CONV, {"alpha": 2.0, "beta": 1.0})
    return Table((excited, Row("lrp_epsilon", DENSE, {"epsilon": epsilon})))


def epsilon_gamma_box(low: Any, high: Any, epsilon: float, gamma: float, form: str) -> Table:
    """z^B at the first convolutions, γ at the others, ε at dense layers (zennit's EpsilonGammaBox)."""
    return Table((
        Row("lrp_z_box", CONV, bounds(low, high), position="first"),
        Row("lrp_gamma", CONV, {"gamma": gamma, "form": form}),
        Row("lrp_epsilon", DENSE, {"epsilon": epsilon}),
    ))  # fmt: skip


def z_box(low: Any, high: Any) -> Table:
    """z^B at the first linear layers, z⁺ at the others (Montavon et al. 2017, arXiv:1512.02479, section 5)."""
    return Table((Row("lrp_z_box", LINEAR, bounds(low, high), position="first"), Row("lrp_z_plus", LINEAR)))


def bounds(low: Any, high: Any) -> dict[str, Any]:
    """Parameters of z^B, those that were given."""
    return {name: value for name, value in (("low", low), ("high", high)) if value is not None}


def excitation_backprop() -> Table:
    """z⁺ at every linear layer, from a winner with probability one (Zhang et al. 2016, arXiv:1608.00507, equation 2)."""
    return Table((Row("lrp_z_plus", LINEAR),), "one")


def deep_taylor(low: Any = None, high: Any = None) -> Table:
    """Deep Taylor decomposition of ReLU networks (Montavon et al. 2017, arXiv:1512.02479; layers as in iNNvestigate).

    z⁺ without bias where a ReLU takes the layer's result, w² where none does, z^B at the first layer where bounds are given.
    """
    ignored = {"bias": "ignored"}
    boxed = (Row("lrp_z_box", LINEAR, bounds(low, high), position="first"),) if bounds(low, high) else ()
    rows = (
        Row("lrp_z_plus", LINEAR, ignored, followed_by="Relu"),
        Row("lrp_w_square", LINEAR),
        Row("share", (), ignored),
        Row("pass_through", ("Relu",)),
        Row("refuse", ("activation",)),
    )
    return Table((*boxed, *rows), "relu")


def beta_smooth(beta: float) -> Table:
    """The gradient, with that of Softplus at ReLUs (zennit's BetaSmooth)."""
    return Table((Row("smooth_relu", ("Relu",), {"beta": beta}), Row("gradient")), "one")


PRESETS: Mapping[str, Callable[[], Table]] = {
    "lrp_0": lambda: everywhere("lrp_0"),
    "lrp_epsilon": lambda: everywhere("lrp_epsilon"),
    "lrp_z_plus": lambda: everywhere("lrp_z_plus"),
    "lrp_alpha_beta": lambda: everywhere("lrp_alpha_beta"),
    "lrp_gamma": lambda: everywhere("lrp_gamma"),
    "lrp_flat": lambda: everywhere("lrp_flat"),
    "lrp_w_square": lambda: everywhere("lrp_w_square"),
    "lrp_epsilon_plus": lambda: epsilon_plus(1e-6),
    "lrp_epsilon_plus_flat": lambda: flat_first(epsilon_plus(1e-6)),
    "lrp_epsilon_alpha2_beta1": lambda: epsilon_alpha2_beta1(1e-6),
    "lrp_epsilon_alpha2_beta1_flat": lambda: flat_first(epsilon_alpha2_beta1(1e-6)),
    "lrp_preset_a": lambda: epsilon_plus(PRESET_EPSILON),
    "lrp_preset_a_flat": lambda: flat_first(epsilon_plus(PRESET_EPSILON)),
    "lrp_preset_b": lambda: epsilon_alpha2_beta1(PRESET_EPSILON),
    "lrp_preset_b_flat": lambda: flat_first(epsilon_alpha2_beta1(PRESET_EPSILON)),
    "excitation_backprop": excitation_backprop,
    "deep_taylor": deep_taylor,
}
"""By name, with the default parameters of the methods of that name; those that need bounds are written out in a rulebook."""
