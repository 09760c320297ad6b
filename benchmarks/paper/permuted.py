"""``python -m benchmarks.paper.permuted --data mnist_t10k.npz``: the paper's section 4, training on permuted labels.

Both MNIST networks are trained twice from the same random weights, on true and on permuted labels, until they know them; the maps
of 200 held-out digits are compared. Writes ``PERMUTED.md`` and the figures in ``permuted/``; trainings and reports lie in
``.cache/paper/permuted/`` and are not made again.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

import explainsvc
from benchmarks.paper import digits, train
from benchmarks.paper.audits import INPUTS, METHODS
from benchmarks.paper.digits import Digits
from benchmarks.paper.tables import cell
from benchmarks.results import machine, table
from explainsvc.checks.rows import MODEL, Row
from explainsvc.report.charts import cascade_svg
from explainsvc.report.render import GridRow, grid_png
from explainsvc.report.report import Report
from explainsvc.training.conversion import trainable
from explainsvc.training.data import Data
from explainsvc.training.fitting import Fitted, Record, Settings, fit
from explainsvc.training.losses import task
from explainsvc.training.pair import NAME
from explainsvc.training.permuted import data_randomisation, fit_permuted

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "paper" / "permuted"
TRAINED = 2_000
"""Items that are learned by heart; the paper takes 55,000 and more epochs."""
SETTINGS = Settings(distribution="he_normal", batch_size=50, epochs=200, stop_accuracy=0.995)
SHOWN = (0, 1, 2)
"""Held-out digits whose maps are drawn."""
MEASURES = ("spearman_abs", "spearman", "ssim", "pearson", "topk_intersection")
TASK = task("cross_entropy")
TRUE, PERMUTED = "true labels", "permuted labels"


@dataclass(frozen=True)
class Pair:
    """A network that learned the true labels, one that learned permuted ones, and the comparison of their maps."""

    name: str
    true: Fitted
    permuted: Fitted
    report: Report


def made(name: str, learned: Digits, held_out: Digits, folder: Path) -> Pair:
    """All of one network; what the folder has is not made again."""
    torch.manual_seed(train.SEED)
    path = folder / f"{name}.onnx"
    if not path.is_file():
        train.export(train.NETWORKS[name]().eval(), path, 0.1)
    start = trainable(explainsvc.load(path))
    data, asked = Data({"image": learned.x}, learned.y), held_out.first(INPUTS)

    def told(record: Record) -> None:
        print(f"{name}: epoch {record.epoch + 1}, loss {record.loss:.3f}, accuracy {record.accuracy:.1%}", flush=True)

    true = fit(start, data, TASK, SETTINGS, folder=folder / f"{name}-true", progress=told)
    by_heart = folder / f"{name}-permuted"
    permuted = fit_permuted(true.trainable, data, TASK, SETTINGS, folder=by_heart, progress=told)
    known = folder / f"{name}.json"
    if not known.is_file():
        report = data_randomisation(
            true.trainable, data, TASK, SETTINGS, {"image": asked.x}, METHODS, folder=by_heart, labels=asked.y
        )
        report.save(known)
        report.save(known.with_suffix(".html"))
    return Pair(name, true, permuted.fitted, Report.from_json(json.loads(known.read_text())))


def figures(pair: Pair, held_out: Digits, folder: Path) -> None:
    """Similarities at both ends of a line, and the maps of some digits by both models."""
    folder.mkdir(exist_ok=True)
    for measure in MEASURES[:2]:
        rows = [row for row in pair.report.rows if row.measure == measure]
        svg = cascade_svg(rows, similarity=measure, controls=pair.report.header["controls"])
        (folder / f"{pair.name}-{measure}.svg").write_text(svg, encoding="utf-8")
    models = {TRUE: pair.true, PERMUTED: pair.permuted}
    loaded = {words: explainsvc.load(fitted.trainable.to_onnx()) for words, fitted in models.items()}
    methods = [method for method in methods_of(pair.report) if method in METHODS]
    grid = [_grid_row(loaded, words, methods, held_out, item) for item in SHOWN for words in models]
    picture = Image.open(io.BytesIO(grid_png(grid))).convert("RGB").quantize(64)
    picture.save(folder / f"{pair.name}-maps.png", optimize=True)


def _grid_row(models: Mapping[str, explainsvc.Model], words: str, methods: Sequence[str], held_out: Digits, item: int) -> GridRow:
    """Both models explain what the first says."""
    feeds = {"image": held_out.x[item : item + 1]}
    target = int(models[TRUE].predict(feeds)["logits"].argmax())
    found = {method: models[words].explain(feeds, method, target).values["image"][0] for method in methods}
    return GridRow(words, held_out.x[item], found)


# The page -----------------------------------------------------------------------------------------------------------


def methods_of(report: Report) -> list[str]:
    """Those that could be run, controls last."""
    return [m for m in (*report.header["asked"], *report.header["controls"]) if m not in report.header["refused"]]


def lines(report: Report) -> Iterator[list[str]]:
    """Methods by similarities, and the verdict."""
    last = [row for row in report.rows if row.check == NAME and row.step == 1]
    for method in methods_of(report):
        own = {row.measure: row for row in last if row.method == method}
        verdict = report.verdicts.get((method, NAME), "–")
        yield [f"`{method}`", *(cell(own[m]) if m in own else "–" for m in MEASURES), verdict]


def of_the_model(pair: Pair) -> str:
    """What was learned, and what both models say of the held-out digits."""
    facts = pair.report.header["checks"][NAME]["training"]
    accuracy = {row.step: row.mean for row in _rows(pair.report, "accuracy")}
    return (
        f"True labels: {facts['true_accuracy']:.1%} of the {TRAINED:,} digits after {len(pair.true.records)} epochs, "
        f"{accuracy[0]:.1%} of the {INPUTS} held-out ones. Permuted labels: {facts['permuted_accuracy']:.1%} after "
        f"{facts['epochs']} epochs, {accuracy[1]:.1%} of the held-out ones by their true labels; {facts['labels_kept']:.1%} of "
        "the labels stayed what they were."
    )


def _rows(report: Report, measure: str) -> Iterator[Row]:
    return (row for row in report.rows if (row.check, row.method, row.measure) == (NAME, MODEL, measure))


def page(pairs: list[Pair]) -> str:
    """All of it as Markdown."""
    setting = (
        f"Networks as in `RESULTS.md`, trained on the first {TRAINED:,} digits until {SETTINGS.stop_accuracy:.1%} of the labels "
        f"are known (permuted: 95 % at least): {SETTINGS.optimiser}, learning rate {SETTINGS.learning_rate:g}, batches of "
        f"{SETTINGS.batch_size}, first weights {SETTINGS.distribution}. Explained is the class that the true-label model gives "
        f"each of {INPUTS} held-out digits, by both models. Means over the digits with their 95 % intervals."
    )
    title, source = "# Permuted labels (Adebayo et al. 2018, section 4)", "Made by `python -m benchmarks.paper.permuted`."
    parts = [title, source, machine(torch.get_num_threads()), setting]
    for pair in pairs:
        parts += [f"## {pair.name}", of_the_model(pair), table(["method", *MEASURES, "verdict"], lines(pair.report))]
        parts += [f"![{pair.name}, {m}](permuted/{pair.name}-{m}.svg)" for m in MEASURES[:2]]
        parts += ["Digits by both models (rows), each map with its own scale:", f"![maps](permuted/{pair.name}-maps.png)"]
    return "\n\n".join([*parts, "## What agrees with the paper, and what does not", READING])


READING = """\
The paper's test says: a map that stays when the labels are permuted does not depend on what relates inputs and labels. It names
maps that change (gradients) and warns of those that keep the input's shape.

- `gradient` and `smoothgrad` agree on both networks: the signed maps of the two models are unrelated (0.04 at most), their
  magnitudes nearly so (0.07 to 0.15).
- `input_x_gradient` and `integrated_gradients` agree with the warning. Their signs are unrelated (0.00 to 0.03), yet |map| stays
  at 0.99: four of five pixels are zero in every digit, and so is the map there. By the eye, and by any measure that leaves out
  the sign, they look the same. The verdict `insensitive` is that of |map|.
- `guided_backprop` depends on the network: on the CNN half of its ranks (0.47, 0.52) and most of its values (Pearson 0.76)
  stay, on the MLP little does (0.09, 0.26). Guided maps of convolutions redraw the digit, whatever the labels were.
- `grad_cam` and `guided_grad_cam` pass. Five digits have a Grad-CAM of zeros by one of the models, which has no rank.
- `vargrad` is positive everywhere, so that both correlations are one number: 0.27 and 0.16, above random maps and far below 0.5.

Different from the paper: 2,000 digits in place of 55,000, and so fewer epochs until all are known by heart; smaller networks
(`RESULTS.md`); the explained class is the true-label model's for both models; controls and verdicts.
"""


def main() -> None:
    """Both networks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.permuted", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="an .npz with MNIST's test pictures: images, labels")
    parser.add_argument("--out", type=Path, default=CACHE, help="trainings and reports; default: .cache/paper/permuted")
    args = parser.parse_args()
    torch.set_num_threads(1)
    to_learn, held_out = digits.read(args.data)
    pairs = [made(name, to_learn.first(TRAINED), held_out, args.out) for name in train.NETWORKS]
    for pair in pairs:
        figures(pair, held_out, HERE / "permuted")
    (HERE / "PERMUTED.md").write_text(page(pairs), encoding="utf-8")


if __name__ == "__main__":
    main()
