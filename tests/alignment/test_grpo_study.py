"""The study of GRPO: a tiny one, and that what is recorded belongs to its settings."""

import dataclasses
import json

from aigc_lab.alignment.grpo_study import GRPOStudy, load_results, run

TINY = GRPOStudy(n_steps=2, n_prompts=2, group_size=4, n_test=3, n_tries=2, seeds=(0,))


def test_a_tiny_study(tmp_path):
    runs = run(TINY, tmp_path / "results.json", show_progress=False)["runs"]
    assert list(runs) == ["before", "GRPO/0"]
    for numbers in runs.values():
        one, both = numbers["pass"]
        assert 0 <= one <= both <= 1 and abs(sum(numbers["by_sum"]) - 1) < 1e-6
        share = sum(i * p for i, p in enumerate(numbers["by_sum"])) / TINY.n_tries
        assert abs(share - one) < 1e-4
    assert len(runs["GRPO/0"]["no_difference"]) == TINY.n_steps


def test_what_is_recorded_was_made_with_these_settings():
    recorded, study = load_results(), GRPOStudy()
    assert recorded["settings"] == json.loads(json.dumps(dataclasses.asdict(study)))
    assert len(recorded["runs"]) == 1 + len(study.seeds)
