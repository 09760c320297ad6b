"""``python -m benchmarks.paper.influence --data mnist_t10k.npz``: influence functions against retraining, into influence.md.

A logistic regression on scikit-learn's digits, retrained to 1e-12 without each of the 100 most influential points of each test
point, by conjugate gradients and by LiSSA; and a CNN on MNIST, whose loss is not convex, retrained from its own minimum.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.paper import digits
from benchmarks.paper.logistic import Logistic
from explainsvc.training.data import Data
from explainsvc.training.hessian import Lissa
from explainsvc.training.influence import Influence, influence_functions
from explainsvc.training.losses import losses, task
from explainsvc.training.trainable import Trainable

Array = npt.NDArray[Any]
PENALTY = 0.01
"""λ of Koh & Liang's logistic regression: both that of the objective and the damping."""
TRAINED, ASKED, LARGEST = 1_000, 3, 100
CNN_TRAINED, CNN_HELD_OUT, CNN_LARGEST, CNN_STEPS = 300, 200, 25, 50
CLASSES = task("cross_entropy")
PAGE = Path(__file__).with_suffix(".md")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.influence", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="an .npz with MNIST's test pictures: images, labels")
    return parser.parse_args()


def held(module: nn.Module) -> Trainable:
    """The module as what influence functions take; all its layers are asked about, so that nothing reads the graph."""
    return Trainable(onnx.ModelProto(), module, ("x",), ("logits",), {name: name for name in module.state_dict()})


def agreement(found: Influence, point: int, seen: dict[int, float]) -> str:
    """Foretold and seen changes of one test point's loss without each training point: Pearson, Spearman, slope."""
    items = list(seen)
    foretold = -found.values[point, items] / found.values.shape[1]
    changes = np.array([seen[item] for item in items])
    slope = np.polyfit(foretold, changes, 1)[0]
    ranks = spearmanr(foretold, changes).statistic
    return f"r {np.corrcoef(foretold, changes)[0, 1]:.4f}, ranks {ranks:.4f}, slope {slope:.2f} over {len(items)} points"


def largest(found: Influence, point: int, count: int) -> list[int]:
    """The training points with the largest influence, of either sign."""
    return [int(item) for item in np.argsort(-np.abs(found.values[point]))[:count]]


def regression() -> Iterator[str]:
    """Lines of the convex model."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order].astype(np.int64)
    train, test = Data({"x": x[:TRAINED]}, y[:TRAINED]), Data({"x": x[-ASKED:]}, y[-ASKED:])
    model = Logistic(x[:TRAINED], y[:TRAINED], PENALTY)
    own = held(model.module())
    by_cg = influence_functions(own, train, test, CLASSES, damping=PENALTY)
    yield (
        f"conjugate gradients: {by_cg.solution.iterations.max()} iterations at most, "
        f"residual {by_cg.solution.residual.max():.1e}; caveats: {list(by_cg.caveats)}"
    )
    base = model.losses(model.theta, test.inputs["x"], test.labels)
    for point in range(ASKED):
        items = largest(by_cg, point, LARGEST)
        seen = {item: float((model.losses(model.without(item), test.inputs["x"], test.labels) - base)[point]) for item in items}
        yield f"test point {point}, loss {base[point]:.3f}: {agreement(by_cg, point, seen)}"
    solver = Lissa()
    started = time.process_time()
    by_lissa = influence_functions(own, train, test, CLASSES, damping=PENALTY, solver=solver)
    yield f"{solver}: {time.process_time() - started:.0f} s of processor, caveats: {list(by_lissa.caveats)}"
    for point, pair in enumerate(zip(by_cg.values, by_lissa.values, strict=True)):
        shares = f"residual {by_lissa.solution.residual[point]:.3f}, change {by_lissa.solution.change[point]:.3f}"
        yield f"test point {point}: r {np.corrcoef(*pair)[0, 1]:.4f} between the two over all {TRAINED} points; LiSSA's {shares}"


def cnn() -> nn.Sequential:
    """Two convolutions 5×5 of stride 2, 4 and 8 channels, with tanh as in the paper's, and a dense layer, in float64.

    With ReLU the Hessian was not positive at this damping, and the values said nothing: see influence.md.
    """
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 5, 2), nn.Tanh(), nn.Conv2d(4, 8, 5, 2), nn.Tanh(), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(*layers).double()


def fit(module: nn.Sequential, data: Data, weights: Array, steps: int) -> None:
    """Σ w·L / n + λ/2·‖θ‖² by L-BFGS, in place."""
    x, y, w = torch.from_numpy(data.inputs["x"]), torch.from_numpy(data.labels), torch.from_numpy(weights)
    optimiser = torch.optim.LBFGS(
        module.parameters(), max_iter=steps, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimiser.zero_grad()
        squares = torch.stack([p.square().sum() for p in module.parameters()]).sum()
        loss = (w * CLASSES.loss(module(x), y)).mean() + PENALTY / 2 * squares
        torch.autograd.backward(loss)
        return loss.item()

    optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped


def network(path: Path) -> Iterator[str]:
    """Lines of the CNN: the held-out picture with the largest loss."""
    to_train, held_out = digits.read(path)
    train = Data({"x": to_train.x[:CNN_TRAINED].astype(np.float64)}, to_train.y[:CNN_TRAINED])
    others = Data({"x": held_out.x[:CNN_HELD_OUT].astype(np.float64)}, held_out.y[:CNN_HELD_OUT])
    module = cnn()
    fit(module, train, np.ones(CNN_TRAINED), 400)
    own = held(module)
    worst = int(losses(own, others, CLASSES).argmax())
    test = Data({"x": others.inputs["x"][[worst]]}, others.labels[[worst]])
    found = influence_functions(own, train, test, CLASSES, damping=PENALTY)
    parameters, loss = sum(p.numel() for p in module.parameters()), found.test_losses[0]
    yield f"{parameters} parameters, {CNN_TRAINED} pictures; held-out picture {worst}, loss {loss:.3f}"
    yield f"conjugate gradients: {found.solution.iterations[0]} iterations, residual {found.solution.residual[0]:.1e}"
    yield f"caveats: {list(found.caveats)}"
    minimum, seen = {name: tensor.clone() for name, tensor in module.state_dict().items()}, {}
    # whatever further steps change without leaving a point out is no effect of one
    for item in [None, *largest(found, 0, CNN_LARGEST)]:
        module.load_state_dict(minimum)
        weights = np.ones(CNN_TRAINED)
        if item is not None:
            weights[item] = 0
        fit(module, train, weights, CNN_STEPS)
        loss = float(losses(own, test, CLASSES)[0])
        if item is None:
            base = loss
        else:
            seen[item] = loss - base
    yield f"retrained from the minimum, {CNN_STEPS} steps of L-BFGS: {agreement(found, 0, seen)}"


def main() -> None:
    """Prints every line as it comes, and writes the page."""
    args = arguments()
    torch.set_num_threads(1)
    now = datetime.now(UTC)
    lines = [f"# Influence functions against retraining\n\n{now:%Y-%m-%d %H:%M} UTC · torch {torch.__version__} · one thread"]
    lines.append(f"```sh\n{__doc__.split('``')[1]}\n```")
    parts = {
        f"Logistic regression, {TRAINED} of scikit-learn's digits, λ {PENALTY}": regression(),
        f"CNN, MNIST, λ {PENALTY}": network(args.data),
    }
    for title, found in parts.items():
        lines.append(f"## {title}")
        for line in found:
            print(line, flush=True)
            lines.append(f"- {line}")
    PAGE.write_text("\n\n".join(lines).replace("\n\n- ", "\n- ") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
