"""Plans of audits, from presets and files."""

from __future__ import annotations

import pytest

from explainpb.v1.audit_service_pb2 import CreateAuditRequest
from explainsvc.cards import read_params
from explainsvc.checks import CHECKS
from explainsvc.checks.presets import PRESETS, AuditPlan, overridden, read_plan
from explainsvc.codec.audits import written_out
from explainsvc.errors import InvalidParameter
from explainsvc.methods import METHODS


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_what_there_is(name: str) -> None:
    """Every method and check of a preset exists."""
    assert set(PRESETS[name].methods) <= METHODS.keys()
    assert set(PRESETS[name].checks) <= CHECKS.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_of_presets_are_those_of_their_methods_and_checks(name: str) -> None:
    """Every one is taken by the method or check that it is for, which the preset has."""
    plan = PRESETS[name]
    assert plan.parameters.keys() <= {*plan.methods, *plan.checks}
    for owner, values in plan.parameters.items():
        params = (METHODS | CHECKS)[owner].params
        assert read_params(params, values, owner) == params(**values)


def test_parameters_go_with_what_is_left_out() -> None:
    """Of the methods and checks that its caller has in place of the plan's; all others stay, and the caller's come first."""
    plan = AuditPlan(
        ("gradient", "smoothgrad"), ("complexity",), {"smoothgrad": {"samples": 5}, "random": {"distribution": "uniform"}}
    )
    assert overridden(plan).parameters == plan.parameters
    found = overridden(plan, ["gradient", "rise"], parameters={"rise": {"samples": 9}, "random": {"distribution": "normal"}})
    assert found.methods == ("gradient", "rise")
    assert found.parameters == {"random": {"distribution": "normal"}, "rise": {"samples": 9}}


def test_a_request_may_take_some_of_a_presets_methods() -> None:
    """As the command line may: parameters of the others are not sent along to be refused."""
    found = written_out(CreateAuditRequest(preset="standard", methods=["gradient"], checks=["complexity"]))
    assert (list(found.methods), list(found.checks), dict(found.parameters)) == (["gradient"], ["complexity"], {})


def test_a_plan_is_toml_or_json() -> None:
    """The same plan in both spellings."""
    plan = AuditPlan(("gradient",), ("parameter_randomization",), {"parameter_randomization": {"order": "bottom_up"}}, 3, 7)
    toml = """
    methods = ["gradient"]
    checks = ["parameter_randomization"]
    target = 3
    seed = 7
    [parameters.parameter_randomization]
    order = "bottom_up"
    """
    text = '{"methods": ["gradient"], "checks": ["parameter_randomization"], "target": 3, "seed": 7, '
    text += '"parameters": {"parameter_randomization": {"order": "bottom_up"}}}'
    assert read_plan(toml) == read_plan(text) == plan


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("methods = [", "neither TOML nor JSON"),
        ('method = ["gradient"]', "plan.method: is unknown"),
        ('methods = "gradient"', "plan.methods: expected a list"),
        ("seed = 1.5", "plan.seed"),
        ("parameters = 3", "plan.parameters"),
    ],
)
def test_a_wrong_plan_says_what_is_wrong(text: str, words: str) -> None:
    """Unknown keys and wrong types are errors."""
    with pytest.raises(InvalidParameter, match=words):
        read_plan(text)
