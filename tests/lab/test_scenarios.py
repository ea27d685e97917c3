"""The table of scenarios is whole: each has its own name, its rules exist, and every rule is tested by one."""

from __future__ import annotations

from switchboard.lab.rules import RULES
from switchboard.lab.scenarios import BY_NAME, SCENARIOS, Behaviour
from switchboard.lab.scenarios.telling import TOLD


def test_every_rule_is_judged_by_a_scenario_and_every_scenario_judges_rules_that_exist() -> None:
    assert {rule for scenario in SCENARIOS for rule in scenario.judged} == RULES.keys()


def test_names_are_unique_and_fit_into_a_path() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() for name in names)


def test_only_the_plain_scenario_behaves_as_a_right_server() -> None:
    assert [scenario.name for scenario in SCENARIOS if scenario.behaviour == Behaviour()] == ["plain"]


def test_what_clients_are_told_is_told_in_scenarios_that_there_are() -> None:
    assert set(TOLD) <= set(BY_NAME)
