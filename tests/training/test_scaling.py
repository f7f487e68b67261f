"""A very small scaling study: what is trained, what is measured, and going on where it stopped."""

import dataclasses
import json

import numpy as np
import pytest
from torch import nn

from aigc_lab.data.tiny_world import TinyWorld
from aigc_lab.models.gpt import GPT
from aigc_lab.training import scaling
from aigc_lab.training.scaling_cells import Documents, Study, non_embedding_parameters, run_cell

SMALL = Study(
    sizes=((8, 1, 1), (16, 1, 2)),
    n_tokens=(600, 1500),
    learning_rates=(1e-2, 1e-2),
    n_documents=2,
    context_length=600,
    n_held_out=40,
    vocab_size=300,
    n_for_tokenizer=20,
)


@pytest.fixture(scope="module")
def documents():
    return Documents(SMALL, show_progress=False)


def test_every_size_meets_every_number_of_tokens_and_cheap_cells_are_repeated():
    assert SMALL.cells() == [
        (0, 600, 0),
        (0, 1500, 0),
        (1, 600, 0),
        (1, 1500, 0),
        (0, 600, 1),
        (0, 600, 2),
    ]
    cut = dataclasses.replace(SMALL, most_operations=6 * 3376 * 1000)  # 3,376 parameters
    assert (1, 600, 0) in cut.cells() and (1, 1500, 0) not in cut.cells()
    sizes = [non_embedding_parameters(Study().config(i)) for i in range(5)]
    assert sizes[0] < 15_000 and sizes[-1] > 700_000 and sizes == sorted(sizes)


def test_the_table_is_left_out():
    config = SMALL.config(1)
    model = GPT(config)
    expected = sum(p.numel() for p in model.parameters()) - 300 * 16
    assert non_embedding_parameters(config) == expected
    assert isinstance(model.embedding, nn.Embedding) and model.embedding.weight.shape == (300, 16)


def test_floors_are_those_of_the_documents_used(documents):
    made = list(TinyWorld(SMALL.held_out).documents(SMALL.n_held_out))
    assert set(documents.held_out) == {document.kind for document in made}
    for kind, (batches, floor) in documents.held_out.items():
        log_probs = [document.log_prob for document in made if document.kind == kind]
        used = log_probs[: len(batches) * SMALL.n_documents]
        n_targets = sum(batch.n_targets for batch in batches)
        assert len(log_probs) - len(used) < SMALL.n_documents
        assert floor * n_targets == pytest.approx(-sum(used))


def test_a_cell_learns_from_about_the_tokens_it_should_and_more_help(documents):
    few = run_cell(SMALL, (1, 600, 0), documents, show_progress=False)
    more = run_cell(SMALL, (1, 1500, 0), documents, show_progress=False)
    assert few["n_tokens"] == pytest.approx(600, rel=0.3)
    assert more["n_tokens"] == pytest.approx(1500, rel=0.3)
    assert np.log(300) > few["excess"] > more["excess"] > 0
    above = {kind: one["loss"] - one["floor"] for kind, one in more["kinds"].items()}
    assert min(above.values()) < more["excess"] < max(above.values())
    total = sum(one["n_targets"] * above[kind] for kind, one in more["kinds"].items())
    n_targets = sum(one["n_targets"] for one in more["kinds"].values())
    assert more["excess"] == pytest.approx(total / n_targets, abs=1e-4)


def test_a_study_goes_on_where_it_stopped(tmp_path, monkeypatch):
    path = tmp_path / "results" / "results.json"
    scaling.run_study(SMALL, path, show_progress=False)
    whole = scaling.load_results(SMALL, path)
    assert len(whole["cells"]) == len(SMALL.cells())
    cut = {**whole, "cells": [c for c in whole["cells"] if c["seed"] != 1]}
    path.write_text(json.dumps(cut))
    trained = []

    def watched(study, cell, *more):
        trained.append(cell)
        return run_cell(study, cell, *more)

    monkeypatch.setattr(scaling, "run_cell", watched)
    scaling.run_study(SMALL, path, show_progress=False)
    assert trained == [(0, 600, 1)]
    again = scaling.load_results(SMALL, path)["cells"][-1]
    (before,) = [c for c in whole["cells"] if c["seed"] == 1]
    assert {**again, "seconds": 0} == {**before, "seconds": 0}


def test_results_of_another_study_are_not_taken(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(FileNotFoundError, match=r"python -m aigc_lab\.training\.scaling"):
        scaling.load_results(SMALL, path)
    path.write_text(json.dumps({"hash": scaling.hash_of(SMALL), "cells": []}))
    assert scaling.load_results(SMALL, path)["cells"] == []
    for changes in ({"n_documents": 3}, {"world": SMALL.world.replace(seed=9)}):
        other = dataclasses.replace(SMALL, **changes)
        with pytest.raises(ValueError, match="other settings or another world"):
            scaling.load_results(other, path)
        with pytest.raises(ValueError, match="other settings or another world"):
            scaling.run_study(other, path)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 sizes need as many learning_rates, not 1"):
        dataclasses.replace(SMALL, learning_rates=(0.1,))
    with pytest.raises(ValueError, match=r"n_held_out=1 leaves . documents of the kind"):
        Documents(dataclasses.replace(SMALL, n_held_out=1), show_progress=False)


def test_the_hash_notices_that_the_world_puts_things_otherwise(monkeypatch):
    class OtherWorld(TinyWorld):
        def document(self, index):
            document = super().document(index)
            return dataclasses.replace(document, text=document.text + "!")

    before = scaling.hash_of(SMALL)
    assert scaling.hash_of(SMALL) == before
    monkeypatch.setattr(scaling, "TinyWorld", OtherWorld)
    assert scaling.hash_of(SMALL) != before
