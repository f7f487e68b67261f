"""The planted bugs: each is really there, and gone afterwards."""

import dataclasses
import json

import pytest

from aigc_lab.alignment.planted_bugs import bugs
from aigc_lab.alignment.ppo_bugs import BugStudy, load_results, run_with
from aigc_lab.models.shipped import load_shipped

SMALL = BugStudy(n_steps=1, n_prompts=6)


@pytest.fixture(scope="module")
def first_steps():
    """The numbers of the first step with each bug, and without any before and after."""
    planted = bugs(load_shipped("chat")[1])
    found = {name: run_with(bug, SMALL, seed=0) for name, bug in planted.items()}
    return found | {"none again": run_with(planted["none"], SMALL, seed=0)}


def gap(log):
    return log["surprise"][0] - log["entropy"][0]


def test_without_a_bug_all_is_as_it_should_be(first_steps):
    for name in ("none", "none, at temperature 0.7", "sign of the KL penalty"):
        log = first_steps[name]
        assert log["kl"][0] == pytest.approx(0, abs=1e-3)
        assert log["ratio_first"][0] == pytest.approx(1, abs=1e-3)
        assert abs(gap(log)) < 0.2


def test_each_bug_leaves_its_mark(first_steps):
    assert gap(first_steps["log-probabilities off by one"]) > 5
    assert gap(first_steps["padding is not masked"]) > 1
    assert gap(first_steps["the end is padding"]) > gap(first_steps["none"]) + 0.1
    assert first_steps["dropout on"]["ratio_first"][0] > 2
    assert first_steps["not cut after the end"]["length"][0] == 100
    cold, right = (
        first_steps[name]["entropy"][0]
        for name in ("temperature missing in the update", "none, at temperature 0.7")
    )
    assert cold > right + 0.02


def test_no_bug_stays(first_steps):
    assert first_steps["none again"] == first_steps["none"]


def test_recorded_runs_are_those_of_the_study_as_it_is():
    found = load_results()
    assert found["settings"] == json.loads(json.dumps(dataclasses.asdict(BugStudy())))
    names = bugs(load_shipped("chat")[1])
    assert set(found["runs"]) == {f"{n}, seed {s}" for n in names for s in BugStudy().seeds}
