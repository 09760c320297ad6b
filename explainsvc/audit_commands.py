"""What the commands about audits do: audit, data-randomization, replay, verify."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from explainsvc import arguments, engines, signing, texts
from explainsvc.arguments import UsageError
from explainsvc.checks.pace import Standing
from explainsvc.checks.presets import PRESETS, AuditPlan, overridden, read_plan
from explainsvc.checks.replay import compared, question_of, require_same_subject
from explainsvc.commands import DIFFERENT, DONE, VERDICT, folder_of, say
from explainsvc.engines import Audit
from explainsvc.errors import InvalidInput
from explainsvc.journals import JournalFile, kept
from explainsvc.loading import load
from explainsvc.progress import Advance, bar
from explainsvc.report.report import Report
from explainsvc.training import pair

ENVELOPE, JOURNAL = "report.dsse.json", "journal.jsonl"


def audit(options: argparse.Namespace) -> int:
    """report.json and report.html, signed where there is a key; exit code 3 for a verdict named by --fail-on."""
    question = _question(options, _plan(options.plan))
    key = None if options.sign_key is None else signing.read_private_key(options.sign_key)
    feeds = arguments.read_inputs(options.inputs)
    folder = folder_of(options.out)
    with engines.opened(options.model, options.server) as engine, bar() as advance, _journal(options, folder) as journal:
        report = engine.audit(feeds, question, _onto(advance), journal)
        written = _saved(report, folder, key)
        if journal is not None:
            journal.remove()
    say(options, report.to_json(), texts.verdicts(report, written))
    return VERDICT if set(options.fail_on) & set(report.verdicts.values()) else DONE


def _journal(options: argparse.Namespace, folder: Path) -> AbstractContextManager[JournalFile | None]:
    """In the report's folder while the audit runs here; on a server the server keeps one."""
    path = folder / JOURNAL

    def resumed(rows: int) -> None:
        sys.stderr.write(f"resumed: {rows} rows of {path}\n")

    return nullcontext() if options.server else kept(path, fresh=options.fresh, resumed=resumed)


def _onto(advance: Advance) -> Callable[[Standing], None]:
    """A bar that shows how far an audit is."""
    return lambda standing: advance(standing.done, standing.total, standing.what, standing.remaining)


def _saved(report: Report, folder: Path, key: Any) -> list[Path]:
    """As page and as JSON, and signed where there is a key."""
    written = [folder / name for name in ("report.html", "report.json")]
    for path in written:
        report.save(path)
    if key is not None:
        written.append(folder / ENVELOPE)
        written[-1].write_bytes(signing.signed((folder / "report.json").read_bytes(), key))
    return written


def _plan(name: str | None) -> AuditPlan:
    """A preset by its name, or a file."""
    if name is None:
        return AuditPlan()
    if name not in PRESETS and not Path(name).is_file():
        raise UsageError(f"--plan {name}: neither a preset ({', '.join(PRESETS)}) nor a file")
    return PRESETS[name] if name in PRESETS else read_plan(arguments.read_text(name))


def _question(options: argparse.Namespace, plan: AuditPlan) -> Audit:
    """The plan, with what the command line says in place of it."""
    cards = {**engines.methods(options.server), **engines.checks(options.server)}
    asked = overridden(plan, options.methods or (), options.checks or (), arguments.by_name(cards, options.parameters))
    if not asked.methods:
        raise UsageError("no method is named: --methods A,B or --plan quick")
    return Audit(
        methods=asked.methods,
        checks=asked.checks,
        target=plan.target if options.target is None else options.target,
        labels=None if options.labels is None else arguments.read_array(options.labels),
        seed=next((seed for seed in (options.seed, plan.seed) if seed is not None), 0),
        parameters=asked.parameters,
    )


def data_randomization(options: argparse.Namespace) -> int:
    """The maps of two models, one of which learned permuted labels; exit code 3 for a verdict named by --fail-on."""
    cards = {**engines.methods(None), pair.NAME: pair.CARD}
    question: dict[str, Any] = {
        "parameters": arguments.by_name(cards, options.parameters),
        "target": options.target,
        "labels": None if options.labels is None else arguments.read_array(options.labels),
        "seed": options.seed,
    }
    true, permuted = load(options.model), load(options.permuted)
    feeds, folder = arguments.read_inputs(options.inputs), folder_of(options.out)
    with bar() as advance:
        report = pair.compare(true, permuted, feeds, options.methods, progress=advance, **question)
    say(options, report.to_json(), texts.verdicts(report, _saved(report, folder, None)))
    return VERDICT if set(options.fail_on) & set(report.verdicts.values()) else DONE


def replay(options: argparse.Namespace) -> int:
    """Every number of a report again; exit code 1 on a difference."""
    report = _report(Path(options.report).read_bytes() if Path(options.report).is_file() else None, options.report)
    cards = {**engines.methods(options.server), **engines.checks(options.server)}
    question = Audit(**question_of(report, arguments.by_name(cards, options.parameters)))
    feeds = arguments.read_inputs(options.inputs)
    with engines.opened(options.model, options.server) as engine, bar() as advance:
        require_same_subject(report, engine.inspect()["digest"], feeds)
        result = compared(report, engine.audit(feeds, question, _onto(advance), None))
    say(options, texts.replay_json(result), texts.replay(result))
    return DIFFERENT if result.differences else DONE


def _report(data: bytes | None, path: str) -> Report:
    if data is None:
        raise UsageError(f"{path}: no such file")
    try:
        document = json.loads(data)
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}", where="report", expected="a report.json") from error
    return Report.from_json(document if isinstance(document, dict) else {})


def verify(options: argparse.Namespace) -> int:
    """Whether a key signed a report; exit code 1 where not. The report is written where asked."""
    key = signing.read_public_key(options.key)
    if not Path(options.envelope).is_file():
        raise UsageError(f"{options.envelope}: no such file")
    payload = signing.verified(Path(options.envelope).read_bytes(), key)
    report = _report(payload, options.envelope)
    written = _written(options.out, payload)
    model = report.header.get("model", {}).get("digest", "unknown")
    document = {"verified": True, "key_id": signing.key_id(key), "model_digest": model}
    say(options, document, "\n".join([f"verified: signed by {document['key_id']}", f"about the model {model}", *written]))
    return DONE


def _written(out: str | None, payload: bytes) -> Sequence[str]:
    if out is None:
        return []
    Path(out).write_bytes(payload)
    return [f"wrote {out}"]
