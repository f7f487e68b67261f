"""The study of DPO: a tiny one, and that what is recorded belongs to its settings."""

import dataclasses
import json

import pytest

from aigc_lab.alignment.dpo_study import DPOStudy, load_results, run

TINY = DPOStudy(
    betas=(0.1,), n_pairs=8, batch_size=4, n_looks=1, n_stories=2, n_watched=3, n_judged=2,
    seeds=(0,),
)  # fmt: skip


def test_a_tiny_study(tmp_path):
    found = run(TINY, tmp_path / "results.json", show_progress=False)
    numbers = found["runs"]["0.1/0"]
    first, last = numbers["looks"]
    assert (first["chosen"], first["kl"], first["margin"]) == (0, 0, 0)
    assert last["step"] == 2 and last["chosen"] != 0
    assert {"gain", "win_rate", "kl", "ended"} <= set(numbers)
    again = run(TINY, tmp_path / "results.json", resume=True, show_progress=False)
    assert again == json.loads(json.dumps(found))
    with pytest.raises(ValueError, match="other settings"):
        other = dataclasses.replace(TINY, lr=1.0)
        run(other, tmp_path / "results.json", resume=True, show_progress=False)


def test_what_is_recorded_was_made_with_these_settings():
    recorded, study = load_results(), DPOStudy()
    assert recorded["settings"] == json.loads(json.dumps(dataclasses.asdict(study)))
    assert len(recorded["runs"]) == len(study.betas) * len(study.seeds)
