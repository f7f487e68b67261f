"""The comparison of BERT's second task, cut down to seconds."""

import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner

from aigc_lab.training import pair_task
from aigc_lab.training.pair_task import MEASURES, RESULTS, WAYS, PairTask, load_results, run

SMALL = PairTask(
    d_model=16, n_layers=1, n_steps=3, n_warmup=1, batch_size=4, seeds=(0, 1), n_test=1
)


@pytest.fixture
def losses(monkeypatch):
    """What each training step was given."""
    seen = []
    steps = pair_task.training_steps

    def watched(model, optimizers, source, settings, loss):
        seen.extend((source.batch(step), loss) for step in range(settings.n_steps))
        return steps(model, optimizers, source, settings, loss)

    monkeypatch.setattr(pair_task, "training_steps", watched)
    return seen


def test_every_way_has_a_number_for_each_seed_and_its_own_stories(losses):
    found = run(SMALL, show_progress=False)
    for measure in MEASURES:
        assert list(found[measure]) == list(WAYS)
        assert all(len(values) == 2 for values in found[measure].values())
    assert len({value for values in found["masked_loss"].values() for value in values}) == 6
    assert len(losses) == 3 * 2 * len(WAYS)
    for number, (pairing, loss) in enumerate(WAYS.values()):
        steps = losses[3 * number : 3 * number + 3]
        assert all(used is loss for _, used in steps)
        labels = torch.cat([batch.labels for batch, _ in steps])
        assert (labels == 1).any() == (pairing == "next")
    assert not torch.equal(losses[0][0].tokens, losses[9][0].tokens)  # another seed
    assert run(SMALL, show_progress=False) == found


def test_the_command_writes_what_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pair_task, "PairTask", lambda: dataclasses.replace(SMALL, seeds=(0,)))
    path = tmp_path / "deep" / "results.json"
    result = CliRunner().invoke(pair_task.main, ["--results", str(path)])
    assert result.exit_code == 0, result.output
    assert load_results(path)["settings"]["n_steps"] == 3
    with pytest.raises(FileNotFoundError, match=r"python -m aigc_lab\.training\.pair_task"):
        load_results(tmp_path / "none.json")


def test_the_results_that_ship_are_of_the_settings_that_stand_in_the_code():
    settings = json.loads(json.dumps(dataclasses.asdict(PairTask())))
    assert load_results(RESULTS)["settings"] == settings
