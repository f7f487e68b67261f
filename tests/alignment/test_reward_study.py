"""The recorded study: it runs, goes on where it stopped, and what ships has all its parts."""

import dataclasses
import json

import pytest
import torch

from aigc_lab.alignment.reward_study import RewardStudy, load_results, run
from aigc_lab.alignment.score_weights import TRAITS
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.models.shipped import load_shipped

TINY = RewardStudy(
    sizes=(32, 48),
    ways_size=32,
    ensemble_size=32,
    flips=(0.1,),
    seeds=(0, 1),
    least_steps=1,
    n_test=10,
    n_apart=3,
)


@pytest.fixture(scope="module", autouse=True)
def small_chat():
    """A random model in place of the chat model, which would take a minute."""
    tokenizer = load_shipped("chat")[1]
    torch.manual_seed(0)
    model = GPT(GPTConfig(tokenizer.vocab_size, 900, d_model=8, n_layers=1, n_heads=1)).eval()
    with pytest.MonkeyPatch.context() as patch:
        name = "aigc_lab.alignment.reward_study.load_shipped"
        patch.setattr(name, lambda _: (model, tokenizer))
        yield


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("study") / "results.json"


@pytest.fixture(scope="module")
def found(path):
    return run(TINY, path, show_progress=False)


def names(study):
    cells = [f"{kind} {n}" for n in study.sizes for kind in ("size", "words")] + [*study.ways()]
    return {f"{c}/{s}" for c in cells for s in study.seeds} | {
        "ceilings",
        "longer wins",
        "ensemble",
    }


def test_all_cells_are_measured(found):
    assert set(found["runs"]) == names(TINY)
    one = found["runs"]["size 32/0"]
    assert set(one) == {"accuracy", "own", "order", "weights"} and set(one["weights"]) == {*TRAITS}
    assert one["own"] == one["accuracy"]  # its labeller is the reader
    assert found["runs"]["size 32/1"] != one
    ensemble = found["runs"]["ensemble"]
    singles = [found["runs"][f"size 32/{seed}"]["accuracy"] for seed in TINY.seeds]
    assert ensemble["members"] == singles


def test_a_study_that_goes_on_gives_the_same(found, path, tmp_path):
    kept = json.loads(path.read_text())
    del kept["runs"]["size 48/1"], kept["runs"]["ensemble"]
    other = tmp_path / "results.json"
    other.write_text(json.dumps(kept))
    assert run(TINY, other, resume=True, show_progress=False) == found


def test_what_ships_is_of_the_study_as_it_is_now():
    shipped = load_results()
    assert shipped["settings"] == json.loads(json.dumps(dataclasses.asdict(RewardStudy())))
    assert set(shipped["runs"]) == names(RewardStudy())
    ceilings = shipped["runs"]["ceilings"]
    for name, scores in shipped["runs"].items():
        if "accuracy" in scores:
            assert 0.4 < scores["accuracy"] < ceilings["reader"] + 0.02, name
