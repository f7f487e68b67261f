"""The study of learning from the context, cut down to seconds."""

import dataclasses
import json
import math

import pytest
import torch
from click.testing import CliRunner

from aigc_lab.data.in_context import Mappings, MarkovChains, repeats
from aigc_lab.training import in_context
from aigc_lab.training.in_context import (
    KEYS,
    RESULTS,
    Study,
    accuracy_on_repeats,
    divergence,
    learning,
    load_results,
    right_answers,
    run,
)

SMALL = Study(
    mappings=Mappings(n_pairs=4, batch_size=4),
    chains=MarkovChains(length=6, batch_size=4),
    d_model=16,
    mapping_steps=4,
    chain_steps=4,
    measure_every=2,
    n_held_out=16,
    seeds=(0, 1),
)


def test_every_run_has_its_measurements(monkeypatch):
    found = run(SMALL, show_progress=False)
    for name, curves in (("mapping", ("accuracy", "loss")), ("markov", ("best", "by_frequency"))):
        assert list(found[name]) == ["1", "2"]
        for n_layers, runs in found[name].items():
            assert len(runs) == 2 and runs[0] != runs[1]
            for one in runs:
                assert one["steps"] == [2, 4]
                assert all(len(one[curve]) == 2 for curve in curves)
                if name == "mapping":
                    heads = torch.tensor(one["prefix_matching"])
                    assert heads.shape == (2, int(n_layers), 2) and heads.max() <= 1
                    assert torch.tensor(one["look_back"]).shape == heads.shape
                    assert torch.tensor(one["without"]).shape == (int(n_layers), 2)
                    assert len(one["by_shots"]) == 4
                else:
                    assert len(one["by_place"]) == len(one["frequency_by_place"]) == 5
    assert run(SMALL, show_progress=False) == found


def test_a_model_that_was_trained_longer_reads_chains_better():
    task = MarkovChains(length=24, batch_size=16)
    test = dataclasses.replace(task, seed=9, batch_size=64).batch(0)
    best = task.best(test.tokens)
    for model, step in learning(task, 1, n_steps=40, lr=1e-2):
        if step == 1:
            before = divergence(model, test.tokens, best).mean()
    assert divergence(model, test.tokens, best).mean() < 0.8 * before
    assert not model.training


def test_the_seed_is_that_of_the_weights():
    task = Mappings(n_pairs=4, batch_size=4)
    models = [next(learning(task, n_steps=2, seed=seed))[0] for seed in (0, 1, 0)]
    first, other, again = (model.blocks[0].attention.qkv.weight for model in models)
    assert torch.equal(first, again) and (first - other).abs().max() > 0.01


class Copier(torch.nn.Module):
    """Gives each token's logarithms from a table of probabilities."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, tokens):
        return self.table[tokens].log()


def test_divergence_is_zero_for_the_reference_itself():
    rows = [[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]]
    table = torch.tensor(rows, dtype=torch.double)
    tokens = torch.tensor([[0, 2, 1], [1, 1, 0]])
    reference = table[tokens]
    found = divergence(Copier(table), tokens, reference)
    assert found.shape == (3,) and found.abs().max() < 1e-12
    even = torch.full_like(table, 1 / 3)
    expected = [
        sum(p * math.log(3 * p) for row in (0, 1) for p in reference[row, t].tolist()) / 2
        for t in range(3)
    ]
    assert divergence(Copier(even), tokens, reference).tolist() == pytest.approx(expected)


def test_only_repeated_keys_count():
    class Reader(torch.nn.Module):
        """Knows what stood behind the last earlier occurrence; otherwise says the first value."""

        def forward(self, tokens):
            logits = torch.zeros(*tokens.shape, 16)
            for b, row in enumerate(tokens.tolist()):
                for t in range(0, len(row), 2):
                    before = [s for s in range(0, t, 2) if row[s] == row[t]]
                    logits[b, t, row[before[-1] + 1] if before else 8] = 1
            return logits

    batch = Mappings(batch_size=32).batch(0)
    assert accuracy_on_repeats(Reader(), batch) == 1
    right = right_answers(Reader(), batch)
    new = ~repeats(batch.tokens[:, KEYS])
    assert right.shape == (32, 16)
    values = batch.targets[:, KEYS]
    assert torch.equal(right[new], (values == 8)[new])


def test_the_command_writes_what_can_be_read(tmp_path, monkeypatch):
    small = dataclasses.replace(SMALL, seeds=(0,), layers=(1,), mapping_steps=2, chain_steps=2)
    monkeypatch.setattr(in_context, "Study", lambda: small)
    path = tmp_path / "deep" / "results.json"
    result = CliRunner().invoke(in_context.main, ["--results", str(path)])
    assert result.exit_code == 0, result.output
    assert load_results(path)["settings"]["mapping_steps"] == 2
    with pytest.raises(FileNotFoundError, match=r"python -m aigc_lab\.training\.in_context"):
        load_results(tmp_path / "none.json")


def test_the_results_that_ship_are_of_the_settings_that_stand_in_the_code():
    settings = json.loads(json.dumps(dataclasses.asdict(Study())))
    assert load_results(RESULTS)["settings"] == settings
