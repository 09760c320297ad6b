"""The command line: ``explainsvc [--server HOST:PORT] COMMAND …``.

Exit codes: 0 done, 1 a difference or failure, 2 usage, 3 a verdict asked for with ``--fail-on``.
Errors are one paragraph on stderr; with ``--json`` stdout holds exactly one JSON object.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from explainsvc import __version__, arguments, audit_commands, commands, doctor, server_options
from explainsvc.checks.presets import PRESETS
from explainsvc.errors import ExplainsvcError, InvalidParameter, UnknownMethod
from explainsvc.report.kinds import KINDS
from explainsvc.service import config
from explainsvc.weights import DISTRIBUTIONS, ORDERS, STATISTICS

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
REMOTE = frozenset({"inspect", "preprocessing", "explain", "compile", "ledger", "audit", "replay", "methods", "checks"})
"""Commands that `--server` sends elsewhere."""
VERDICTS = ("sensitive", "insensitive", "inconclusive", "pass", "fail")

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.server and options.command not in REMOTE:
        parser.error(f"`{options.command}` runs on this machine; --server goes with {', '.join(sorted(REMOTE))}")
    try:
        options.server = server_options.server(options)
        return int(options.run(options))
    except (arguments.UsageError, UnknownMethod, InvalidParameter) as error:
        return _fail(USAGE, error)
    except (ExplainsvcError, OSError) as error:
        return _fail(FAILURE, error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _fail(code: int, error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):  # the reader went away: `explainsvc methods | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    print("explainsvc: " + " ".join(str(error).split()), file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one paragraph."""

    def error(self, message: str) -> NoReturn:
        """Exit with the usage code."""
        self.exit(USAGE, f"{self.prog}: {message}. See `{self.prog} --help`.\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = Parser(prog="explainsvc", description="Explain ONNX models with explained ONNX graphs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"explainsvc {__version__}")
    server_options.add_server(parser)
    commands_ = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _demo,
        _inspect,
        _preprocessing,
        _explain,
        _compile,
        _ledger,
        _audit,
        _data_randomization,
        _replay,
        _verify,
        _randomise,
        _cards,
        _serve,
        _config,
        _doctor,
    ):
        add(commands_)
    return parser


def _command(group: Commands, name: str, run: commands.Command, text: str) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    parser.set_defaults(run=run)
    return parser


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file; external data is read from beside it")


def _question(parser: argparse.ArgumentParser, parameter: str = "a parameter of the method (repeatable)") -> None:
    _target(parser)
    parser.add_argument("--wanted", action="append", metavar="INPUT", help="explain this input or inner value only (repeatable)")
    text = "keep the rounding of a quantised model; gradients pass it unchanged (default: it is left out)"
    parser.add_argument("--straight-through", action="store_true", help=text)
    _parameters(parser, "KEY=VALUE", parameter)


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        type=arguments.target,
        metavar="T",
        help="argmax, INDEX, OUTPUT:INDEX or JSON; default: the largest value of the first float output",
    )


def _parameters(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    parser.add_argument("-p", dest="parameters", action="append", default=[], type=arguments.parameter,
                        metavar=metavar, help=text)  # fmt: skip


def _pixels(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("an image as input", "value = (pixel · scale − mean) / std, pixels 0…255")
    group.add_argument("--scale", type=arguments.number, metavar="S", help="default 1/255; 1 for integer inputs")
    group.add_argument("--mean", type=arguments.numbers, default=(0.0,), metavar="M[,M,M]", help="default 0")
    group.add_argument("--std", type=arguments.numbers, default=(1.0,), metavar="D[,D,D]", help="default 1")
    group.add_argument("--bgr", action="store_true", help="channels in the order blue, green, red")
    group.add_argument("--layout", choices=("nchw", "nhwc"), help="default: what the shape says")
    group.add_argument("--channels", type=int, choices=(1, 3), help="for inputs that leave the channels open")
    group.add_argument("--size", type=arguments.size, metavar="HxW", help="for inputs that leave the size open")


def _picture(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a picture as output")
    group.add_argument("--render", choices=KINDS, help="default: what the input's shape and type say")
    group.add_argument("--tokens", metavar="F.txt", help="the text of each token, one a line, item after item")
    group.add_argument("--names", metavar="F.txt", help="the names of a table's columns, one a line")


def _demo(group: Commands) -> None:
    parser = _command(group, "demo", commands.demo, "explain digits by a small model, on a server started for it")
    parser.add_argument("--model", metavar="MODEL", help="your own model, with --image")
    parser.add_argument("--image", metavar="IMAGE", help="your own picture, with --model")
    parser.add_argument("--out", default="explainsvc-demo", metavar="DIR", help="default explainsvc-demo/")
    _pixels(parser)


def _inspect(group: Commands) -> None:
    parser = _command(group, "inspect", commands.inspect, "facts of a model, and which methods fit it")
    _model(parser)
    parser.add_argument("--nodes", action="store_true", help="also a table of the nodes (--json has it always)")
    _json(parser)


def _preprocessing(group: Commands) -> None:
    text = "keep with a model on a server how pictures become its inputs, for those who send pictures"
    parser = _command(group, "preprocessing", commands.keep_preprocessing, text)
    _model(parser)
    parser.add_argument("--forget", action="store_true", help="keep nothing with it")
    _pixels(parser)


def _explain(group: Commands) -> None:
    parser = _command(group, "explain", commands.explain, "one explanation of one batch of inputs")
    _model(parser)
    parser.add_argument("--inputs", metavar="F.npz|IMAGE", help="npz keys are the input names; required but for --dry-run")
    parser.add_argument("--dry-run", action="store_true", help="compute nothing: print which rule every node would get")
    parser.add_argument("--method", required=True, action="extend", type=arguments.methods, metavar="NAME[,NAME]",
                        help="see `explainsvc methods`; several are put side by side")  # fmt: skip
    _question(parser, "a parameter of the method, NAME.KEY=VALUE where there are several (repeatable)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of methods that draw numbers; default 0")
    parser.add_argument("--out", metavar="F.npz|F.png", help="the values, or a picture of them")
    _picture(parser)
    _json(parser)
    _pixels(parser)


def _compile(group: Commands) -> None:
    parser = _command(group, "compile", commands.compile_, "save the explained graph, for any onnxruntime")
    _model(parser)
    parser.add_argument("--method", required=True, metavar="NAME", help="see `explainsvc methods`")
    _question(parser)
    parser.add_argument("--out", required=True, metavar="EXPLAINED.onnx")


def _ledger(group: Commands) -> None:
    parser = _command(group, "ledger", commands.ledger, "what every node received, handed on and lost in one explanation")
    _model(parser)
    parser.add_argument("--inputs", required=True, metavar="F.npz|IMAGE", help="npz keys are the input names")
    parser.add_argument("--method", required=True, metavar="NAME", help="one that shares out relevance by rules")
    _question(parser)
    parser.add_argument("--out", metavar="F.json", help="the ledger as JSON")
    _json(parser)
    _pixels(parser)


def _audit(group: Commands) -> None:
    parser = _command(group, "audit", audit_commands.audit, "put methods through checks and report")
    _model(parser)
    parser.add_argument("--inputs", required=True, metavar="F.npz", help="keys are the input names")
    parser.add_argument("--plan", metavar="NAME|FILE", help=f"{', '.join(PRESETS)}, or a TOML or JSON file; options override it")
    parser.add_argument("--methods", type=arguments.names, metavar="A,B")
    parser.add_argument("--checks", type=arguments.names, metavar="C,D", help="default: parameter_randomization")
    _target(parser)
    parser.add_argument("--labels", metavar="F.npy", help="true classes, for the accuracy column")
    parser.add_argument("--seed", type=int, metavar="N")
    _parameters(parser, "NAME.KEY=VALUE", "a parameter of a method or check (repeatable)")
    text = "gets report.json and report.html; after a crash the same command goes on from the journal there"
    parser.add_argument("--out", required=True, metavar="DIR", help=text)
    parser.add_argument("--fresh", action="store_true", help="begin anew, whatever journal is there")
    parser.add_argument("--sign-key", metavar="KEY.pem", help="an Ed25519 key: writes report.dsse.json too")
    parser.add_argument("--fail-on", action="append", choices=VERDICTS, default=[], help="exit 3 on this verdict")
    _json(parser)


def _data_randomization(group: Commands) -> None:
    text = "the maps of two models of one architecture, trained on true and on permuted labels"
    parser = _command(group, "data-randomization", audit_commands.data_randomization, text)
    _model(parser)
    parser.add_argument("permuted", metavar="PERMUTED", help="the .onnx file of the model that learned permuted labels")
    parser.add_argument("--inputs", required=True, metavar="F.npz", help="keys are the input names")
    parser.add_argument("--methods", required=True, type=arguments.names, metavar="A,B")
    _target(parser)
    parser.add_argument("--labels", metavar="F.npy", help="true classes, for the accuracy column")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    _parameters(parser, "NAME.KEY=VALUE", "a parameter of a method or of data_randomization (repeatable)")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets report.json and report.html")
    parser.add_argument("--fail-on", action="append", choices=VERDICTS, default=[], help="exit 3 on this verdict")
    _json(parser)


def _replay(group: Commands) -> None:
    parser = _command(group, "replay", audit_commands.replay, "compute every number of a report again")
    parser.add_argument("report", metavar="report.json")
    _model(parser)
    parser.add_argument("--inputs", required=True, metavar="F.npz", help="the inputs that the report is about")
    _parameters(parser, "NAME.KEY=F.npy", "a large array of which the report holds only the digest (repeatable)")
    _json(parser)


def _verify(group: Commands) -> None:
    parser = _command(group, "verify", audit_commands.verify, "whether a key signed a report")
    parser.add_argument("envelope", metavar="report.dsse.json")
    parser.add_argument("--key", required=True, metavar="PUBLIC.pem")
    parser.add_argument("--out", metavar="report.json", help="writes the report that was signed")
    _json(parser)


def _randomise(group: Commands) -> None:
    text = "the models of a parameter randomisation as ONNX files: those whose sha256 a report names"
    parser = _command(group, "randomise", commands.randomise, text)
    _model(parser)
    parser.add_argument("--steps", type=arguments.step, default=None, metavar="all|K", help="default: all")
    parser.add_argument("--order", choices=ORDERS, default="cascading")
    parser.add_argument("--distribution", choices=DISTRIBUTIONS, default="he_normal")
    parser.add_argument("--statistics", choices=STATISTICS, default="reset", help="of BatchNormalization")
    parser.add_argument("--blocks", default="", metavar="scope|JSON", help="what a step re-initialises; default: one unit")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="that of the report")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets step-000.onnx, … and SHA256SUMS")


def _cards(group: Commands) -> None:
    for name, command in (("methods", commands.methods), ("checks", commands.checks)):
        parser = _command(group, name, command, f"the {name} and their parameters, or the whole cards of some")
        parser.add_argument("names", nargs="*", metavar="NAME", help="print the whole card")
        _json(parser)


def _serve(group: Commands) -> None:
    config.add_options(_command(group, "serve", commands.serve, "the gRPC server"))


def _config(group: Commands) -> None:
    parser = _command(group, "config", commands.configuration, "the settings that serve would have, and where each comes from")
    config.add_options(parser)
    _json(parser)


def _doctor(group: Commands) -> None:
    parser = _command(group, "doctor", doctor.run, "try providers, worker, sandbox and store, with the settings of serve")
    config.add_options(parser)
    _json(parser)


if __name__ == "__main__":
    sys.exit(main())
