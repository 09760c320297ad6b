"""roar: Does a model that is trained without the most important inputs know less than one that is trained without random ones?

Computes: Estimators rank the features of every item. A share of them, the most important first (ROAR) or the least important
    first (KAR), is replaced by the channel's mean in the training and in the test set, and the model is trained again from
    random initialisation, several times. Beside it, the same removals from the test set of models that were not retrained.
Output: Rows (estimator, order, share): test accuracy, mean ± standard deviation over the retrainings; gain_over_random over the
    shares: for ROAR how much lower the accuracy is than that of the random ranks, for KAR how much higher.
Needs: A trainable model of a classifier, a training and a test set; five retrainings for a verdict.
Cost: estimators × orders × (shares − 1) × retrainings trainings, and as many again as there are retrainings for the share 0.
Properties: The models know the modified data: an accuracy does not fall because of inputs that were never seen before.
Limits: Says which ranks hold what the model can learn from, not what the explained model used. Where the marks of removal
    themselves tell the class, accuracy stays high (Rong et al. 2022, arXiv:2202.00449).
Source: Hooker, Erhan, Kindermans, Kim 2019, arXiv:1806.10758; verdict against the paired random ranks: ours.
Differs: The retrainings of one repetition share their seed, so that differences to random are paired. Shares are of what is
    replaced; the paper's code counts for KAR what is kept. Ties are ordered at random. random draws normal numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from explainsvc.attribution import versions
from explainsvc.cards import plain
from explainsvc.checks._features import Features
from explainsvc.checks.facts import array_facts, machine
from explainsvc.errors import ExplainsvcError, InvalidParameter, JournalMismatch, Violation
from explainsvc.graph.load import digest_of
from explainsvc.method import Progress, silent
from explainsvc.model import Model
from explainsvc.report.report import Report
from explainsvc.training.checkpoints import replace_file
from explainsvc.training.data import Data, Task, require_fitting
from explainsvc.training.design import BASELINES, NAME, Design
from explainsvc.training.fitting import Settings
from explainsvc.training.outcomes import ACCURACY, RULE, Found, rows_of, verdicts_of
from explainsvc.training.removal import Removal, features_of, ranks_of
from explainsvc.training.retraining import TEST, TRAIN, Retraining, outcome_of, rank_file, retrain, write_array, write_material
from explainsvc.training.trainable import Trainable

QUESTION = "question.json"


@dataclass(frozen=True)
class Bench:
    """Everything that is to be done: independent jobs, whose outcomes lie in their folder, in any order and from any process.

    Attributes:
        design: What was asked for.
        jobs: All retrainings.
        header: The report's.
        refused: Estimator → why it has no ranks.
        guessing: The share of the commonest label in the test set.
    """

    design: Design
    jobs: tuple[Retraining, ...]
    header: Mapping[str, Any] = field(repr=False)
    refused: Mapping[str, str]
    guessing: float

    def report(self) -> Report:
        """Of the outcomes that there are by now."""
        known = {job.key: outcome for job in self.jobs if (outcome := outcome_of(job)) is not None}
        found = Found(self.design, known, self.refused, self.guessing)
        verdicts = verdicts_of(found)
        words = {(name, NAME): str(verdict.word) for name, verdict in verdicts.items()}
        reasons = {(name, NAME): verdict.reason for name, verdict in verdicts.items()}
        return Report(dict(self.header), tuple(rows_of(found)), words, reasons)


def roar(
    model: Model, build: Callable[[], Trainable], train: Data, test: Data, task: Task, settings: Settings, design: Design,
    folder: Path, *, output: str = "", progress: Progress = silent,
) -> Report:  # fmt: skip
    """The whole benchmark, one retraining after the other.

    Args:
        model: Whose explanations rank the features.
        build: Makes the model that is retrained; a function of a module, or a partial of one, so that jobs can travel.
        train: What is trained on.
        test: What accuracy is measured on; ranked and modified as ``train`` is.
        task: Whose labels are classes or binary.
        settings: Of every retraining; each repetition counts the seed up by one.
        design: What is removed.
        folder: Keeps everything; the same call goes on where it was killed.
        output: That is held against the labels; by default the first.
        progress: Called with (done, total, what) before each retraining, and at the end.

    Raises:
        InvalidParameter: A design that is not sound, parameters that a method does not have, or labels that are numbers.
        UnknownMethod: No method has an estimator's name.
        InvalidInput: Data that cannot be trained on.
        JournalMismatch: The folder holds another benchmark.
    """
    bench = prepare(model, build, train, test, task, settings, design, folder, output=output)
    for done, job in enumerate(bench.jobs):
        progress(done, len(bench.jobs), job.key)
        retrain(job)
    progress(len(bench.jobs), len(bench.jobs), "report")
    return bench.report()


def prepare(
    model: Model, build: Callable[[], Trainable], train: Data, test: Data, task: Task, settings: Settings, design: Design,
    folder: Path, *, output: str = "",
) -> Bench:  # fmt: skip
    """Ranks both sets by every estimator, and writes down what the jobs need; arguments and errors as :func:`roar`.

    An estimator that does not apply to the model is refused, and the others go on. Ranks that the folder has are kept.
    """
    design.require_sound()
    if task.labels == "numbers":
        wrong = Violation("task", "has labels that are numbers")
        raise InvalidParameter("accuracy is of labels that can be met", violations=[wrong])
    trainable = build()
    for data in (train, test):
        require_fitting(trainable, data, task, output or trainable.outputs[0])
    removed = _removed(design, train)
    features = features_of(removed, train.inputs[removed].shape[1:], design.unit)
    asked = {
        "model": model.digest, "retrained": digest_of(trainable.graph.SerializeToString(deterministic=True)),
        TRAIN: train.digests(), TEST: test.digests(), "task": [task.name, task.labels, task.threshold],
        "settings": asdict(settings), "design": _facts(replace(design, removed=removed)), "output": output,
    }  # fmt: skip
    _claim(folder, asked)
    write_material(folder, removed, {TRAIN: train, TEST: test}, features.numbers[removed])
    refused = _rank(folder, model, design, {TRAIN: train, TEST: test}, features)
    jobs = tuple(_jobs(build, task, settings, design, folder, output, refused.keys()))
    return Bench(design, jobs, _header(model, test, asked, design, refused), refused, test.guessing())


def _rank(folder: Path, model: Model, design: Design, sets: Mapping[str, Data], features: Features) -> dict[str, str]:
    """Writes the ranks that the folder lacks; estimator → why it has none."""
    refused = {}
    for number, estimator in enumerate(design.everyone):
        try:
            for which, data in sets.items():
                path = rank_file(folder, number, which)
                if not path.is_file():
                    write_array(path, ranks_of(model, estimator, data.inputs, features, design.seed))
        except ExplainsvcError as error:
            refused[estimator.name] = str(error)
    return refused


def _removed(design: Design, train: Data) -> str:
    """The input that features are removed from."""
    floats = [name for name, array in train.inputs.items() if array.dtype.kind == "f"]
    if design.removed in train.inputs or (len(floats) == 1 and not design.removed):
        return design.removed or floats[0]
    words = f"is {design.removed!r}, expected one of {', '.join(train.inputs)}"
    raise InvalidParameter("there is no such input", violations=[Violation("design.removed", words)])


def _jobs(
    build: Callable[[], Trainable], task: Task, settings: Settings, design: Design, folder: Path, output: str,
    refused: Collection[str],
) -> Iterator[Retraining]:  # fmt: skip
    """Repetition by repetition, so that what is finished of a broken benchmark is one repetition of everything."""
    numbers = [number for number, estimator in enumerate(design.everyone) if estimator.name not in refused]
    shares = [share for share in design.shares if share > 0]
    removals = tuple(Removal(n, order, share) for n in numbers for order in design.orders for share in shares)
    for repetition in range(design.repetitions):
        own = replace(settings, seed=settings.seed + repetition)
        yield Retraining(folder, build, task, own, output, None, repetition, removals)
        for removal in removals:
            yield Retraining(folder, build, task, own, output, removal, repetition)


def _facts(design: Design) -> dict[str, Any]:
    """As JSON; more repetitions go on from fewer, for each is a job of its own."""
    return {name: plain(value) for name, value in asdict(design).items() if name != "repetitions"}


def _claim(folder: Path, asked: Mapping[str, Any]) -> None:
    """The folder is this benchmark's, or becomes it."""
    text = json.dumps(asked, sort_keys=True).encode()
    path = folder / QUESTION
    if path.is_file() and path.read_bytes() != text:
        raise JournalMismatch(
            "it holds another benchmark", where=str(folder), expected="the same model, data, task, settings and design",
            to_do="Give this benchmark a folder of its own",
        )  # fmt: skip
    replace_file(path, text)


def _header(
    model: Model, test: Data, asked: Mapping[str, Any], design: Design, refused: Mapping[str, str]
) -> dict[str, Any]:  # fmt: skip
    """The keys of :class:`Report` that there are."""
    facts = {"rule": RULE, "family": "faithfulness", "axis": "share of the features replaced", "main": ACCURACY}
    parameters = {**asked["design"], "repetitions": design.repetitions, "settings": asked["settings"], "task": asked["task"][0]}
    names = [estimator.name for estimator in design.estimators]
    ranked = [estimator for estimator in design.everyone if estimator.name not in refused]
    seeded = {"seed": design.seed, "caveats": [], "explained": [asked["design"]["removed"]]}
    return {
        "model": model.info.to_json(),
        "inputs": {name: array_facts(array) for name, array in test.inputs.items()},
        "target": "the predicted class of each item",
        "methods": {e.name: {"parameters": plain(e.parameters), **seeded} for e in ranked},
        "checks": {NAME: {**facts, "parameters": parameters, "seed": design.seed}},
        "refused": {name: reason for name, reason in refused.items() if name in names},
        "controls": [e.name for e in BASELINES],
        "asked": names,
        "versions": versions() | {"torch": torch.__version__},
        "machine": machine(),
        "seed": design.seed,
    }
