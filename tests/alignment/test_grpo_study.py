"""The study of GRPO: a tiny one, and that what is recorded belongs to its settings."""

import json
from dataclasses import asdict

import numpy as np

from aigc_lab.alignment.grpo_study import TASKS, WAYS, GRPOStudy, load_results, run

TINY = GRPOStudy(
    n_steps=2, n_steps_others=1, n_prompts=2, n_test=3, n_tries=2, n_talks=4, seeds=(0,)
)


def names_of(study):
    of_each = {name: (WAYS if name == "any length" else ["GRPO"]) for name in TASKS}
    return [
        name
        for task, ways in of_each.items()
        for name in (f"{task}/before", *(f"{task}/{w}/{s}" for w in ways for s in study.seeds))
    ]


def test_a_tiny_study(tmp_path):
    runs = run(TINY, tmp_path / "results.json", show_progress=False)["runs"]
    assert list(runs) == names_of(TINY)
    for name, numbers in runs.items():
        assert 0 <= numbers.get("declined", 0) <= 1
        assert ("declined" in numbers) == name.startswith("questions")
        if "kinds" in numbers:
            right, n = np.sum(list(numbers["kinds"].values()), axis=0)
            assert n == TINY.n_test and abs(right / n - numbers["greedy"]) < 1e-6
            assert 0 <= numbers["says"]["declines"] + numbers["says"]["yes"] <= 1
        one, both = numbers["pass"]
        assert 0 <= one <= both <= 1 and abs(sum(numbers["counts"]) - 1) < 1e-6
        share = sum(i * p for i, p in enumerate(numbers["counts"])) / TINY.n_tries
        assert abs(share - one) < 1e-4
        right, wrong = numbers["length_right"] or 0.0, numbers["length_wrong"] or 0.0
        assert abs(one * right + (1 - one) * wrong - numbers["length"]) < 0.05
    assert len(runs["sums/GRPO/0"]["no_difference"]) == 2
    assert len(runs["stories/GRPO/0"]["no_difference"]) == 1


def test_what_is_recorded_was_made_with_these_settings():
    recorded, study = load_results(), GRPOStudy()
    assert recorded["settings"] == json.loads(json.dumps(asdict(study)))
    assert sorted(recorded["runs"]) == sorted(names_of(study))
