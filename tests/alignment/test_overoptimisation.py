"""The study of over-optimisation: its runs, and what the recorded ones show."""

import dataclasses
from functools import partial

import pytest
import torch

from aigc_lab.alignment import overoptimisation
from aigc_lab.alignment.overoptimisation import KEPT, Overoptimisation, load_results, run, worst_of
from aigc_lab.models.shipped import FOLDER

TINY = Overoptimisation(
    n_pairs=32, n_epochs=1, n_models=2, n_members=2, n_steps=2, n_prompts=4, seeds=(0,)
)


def test_a_small_study_and_its_resumption(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    found = run(TINY, path, show_progress=False)
    assert list(found["runs"]) == ["no price/0", "a price/0", "worst of several/0"]
    for numbers in found["runs"].values():
        assert set(numbers) == set(KEPT)
        assert all(len(values) == TINY.n_steps for values in numbers.values())
    # The first replies are drawn before anything was learned: the same whatever the way.
    golds = {numbers["gold"][0] for numbers in found["runs"].values()}
    assert len(golds) == 1
    assert found["runs"]["no price/0"]["score"][0] == found["runs"]["a price/0"]["score"][0]
    one, worst = (found["runs"][f"{way}/0"]["score"][0] for way in ("no price", "worst of several"))
    assert worst < one  # the lowest of two scores

    def forbidden(*args):
        raise AssertionError("a run that is in the file was made again")

    monkeypatch.setattr(overoptimisation, "_train", forbidden)
    assert run(TINY, path, resume=True, show_progress=False) == found
    with pytest.raises(ValueError, match="other settings"):
        run(dataclasses.replace(TINY, n_steps=3), path, resume=True, show_progress=False)


def test_the_worst_of_several_scores(monkeypatch):
    scores = {"a": torch.tensor([1.0, -2.0, 3.0]), "b": torch.tensor([0.0, 5.0, 4.0])}
    monkeypatch.setattr(overoptimisation, "score_samples", lambda model, samples: scores[model])
    assert worst_of(["a", "b"], None).tolist() == [0.0, -2.0, 3.0]


def test_what_was_recorded_shows_over_optimisation():
    path = FOLDER / "overoptimisation" / "results.json"
    if not path.exists():
        pytest.skip("the study has not been recorded yet")
    runs = load_results()["runs"]
    smooth = partial(moving_mean, n=5)
    for seed in (0, 1, 2):
        free = runs[f"no price/{seed}"]
        gold, proxy = smooth(free["gold"]), smooth(free["score"])
        peak = gold.index(max(gold))
        assert gold[-1] < 0.8 * gold[peak]  # falls by a fifth and more
        assert proxy[-1] > proxy[peak]  # while the learned reward goes on rising
        priced = runs[f"a price/{seed}"]
        assert smooth(priced["gold"])[-1] > gold[-1]


def moving_mean(values, n):
    return [sum(values[i : i + n]) / n for i in range(len(values) - n + 1)]
