"""The study of best-of-n, at a small size."""

import dataclasses
import json

import numpy as np
import pytest

from aigc_lab.alignment.best_of_n import best_of_n_bound
from aigc_lab.alignment.best_of_n_study import BestOfN, chosen_by, load_results, run, within


def test_within_has_mean_0_for_each_request_and_deviation_1():
    values = np.random.default_rng(0).normal(size=(3, 50)) * 4 + np.array([[1.0], [5.0], [-2.0]])
    found = within(values)
    np.testing.assert_allclose(found.mean(1), 0, atol=1e-12)
    assert found.std() == pytest.approx(1)


def test_one_of_one_is_the_mean_and_the_best_of_all_the_best():
    chance = np.random.default_rng(0)
    proxy, gold = chance.normal(size=(2, 3, 8))
    found = chosen_by(proxy, gold, (1, 8))
    assert found["gold"][0] == pytest.approx(gold.mean(), abs=1e-4)
    best = [g[p.argmax()] for p, g in zip(proxy, gold, strict=True)]
    assert found["gold"][1] == pytest.approx(np.mean(best), abs=1e-4)
    assert found["proxy"][1] == pytest.approx(proxy.max(1).mean(), abs=1e-4)
    assert found["kl"][0] == 0 and found["kl"][1] <= best_of_n_bound(8)


def test_a_small_study_runs_through():
    study = BestOfN(1, 8, (1, 4), n_pairs=(34,), n_passes=(1,), seeds=(0, 1), n_test=8)
    found = run(study, show_progress=False)
    assert found["pool"]["different"] == 8 and len(found["runs"]["34"]) == 2
    assert found["gold"]["gold"] == found["gold"]["proxy"]  # gold chooses by gold
    assert set(found["ensembles"]["34"]) == {"mean", "least"}
    assert all(0 <= one["right"] <= 1 for one in found["runs"]["34"])


def test_recorded_results_are_those_of_the_study_as_it_is():
    assert load_results()["settings"] == json.loads(json.dumps(dataclasses.asdict(BestOfN())))
