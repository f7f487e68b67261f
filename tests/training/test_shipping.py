"""From a finished run to the book's weights."""

import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner
from small_recipes import tiny

from aigc_lab.data.chat import END
from aigc_lab.data.tiny_world import TinyWorld
from aigc_lab.data.tiny_world.settings import SPLITS
from aigc_lab.data.tiny_world.translation import SPLITS as PAIR_SPLITS
from aigc_lab.evaluation.masked_words import pair_accuracy
from aigc_lab.evaluation.world_probes import excess_loss
from aigc_lab.models.shipped import load_shipped, shipped_notes
from aigc_lab.training import recipes, shipping
from aigc_lab.training.run_folder import LOG_FILE
from aigc_lab.training.running import run_recipe


@pytest.fixture
def probed(monkeypatch):
    """The splits that were probed; nothing is computed."""
    found = []

    def probe(model, tokenizer, settings):
        assert not model.training
        found.append((settings.seed, settings.split))
        return {"answers": {"overall": len(found)}}

    monkeypatch.setattr(shipping, "probe", probe)
    monkeypatch.setattr(shipping, "N_STORIES", 3)
    monkeypatch.setattr(shipping, "N_READ", 40)
    return found


@pytest.fixture
def recipe(monkeypatch):
    recipe = tiny("base")
    monkeypatch.setitem(recipes.RECIPES, "base", lambda preset: recipe)
    return recipe


def test_a_finished_run_is_probed_and_written(tmp_path, recipe, probed, recwarn):
    model, data, log = run_recipe(recipe, tmp_path / "run", show_progress=False)
    scores = shipping.ship("base", tmp_path / "run", tmp_path / "weights")
    assert probed == [(recipe.data.held_out.seed, split) for split in SPLITS]
    read, tokenizer = load_shipped("base", tmp_path / "weights")
    assert not [w for w in recwarn if "another recipe" in str(w.message)]
    assert tokenizer.merges == data.tokenizer.merges
    for ours, theirs in zip(model.parameters(), read.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)  # float16
    notes = shipped_notes("base", tmp_path / "weights")
    assert notes["log"] == log and notes["scores"] == json.loads(json.dumps(scores))
    assert scores["worlds"]["new_people"] == {
        "answers": {"overall": 1 + list(SPLITS).index("new_people")}
    }
    told = [d for d in TinyWorld(recipe.data.held_out).documents(40) if d.kind == "story"]
    assert scores["stories"].pop("n_read") == len(told) > 0
    excess = excess_loss(model, data.tokenizer, told)["story"]
    assert scores["stories"].pop("excess") == pytest.approx(excess)
    assert scores["stories"] == {"grammatical": 0, "consistent": 0}


def test_a_run_that_was_stopped_is_not_shipped(tmp_path, recipe, probed):
    run_recipe(recipe, tmp_path / "run", show_progress=False)
    log = tmp_path / "run" / LOG_FILE
    log.write_text(log.read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match=r"is at step 1 of 3: finish it .*train base --resume"):
        shipping.ship("base", tmp_path / "run", tmp_path / "weights")
    assert not (tmp_path / "weights").exists() and not probed


def test_a_run_of_another_recipe_is_not_shipped(tmp_path, recipe, probed, monkeypatch):
    run_recipe(recipe, tmp_path / "run", show_progress=False)
    other = dataclasses.replace(recipe, lr=1e-4)
    monkeypatch.setitem(recipes.RECIPES, "base", lambda preset: other)
    with pytest.raises(ValueError, match="another recipe"):
        shipping.ship("base", tmp_path / "run", tmp_path / "weights")


def test_a_translator_is_shipped_with_its_scores(tmp_path, monkeypatch):
    recipe = tiny("translator")
    monkeypatch.setitem(recipes.RECIPES, "translator", lambda preset: recipe)
    monkeypatch.setattr(shipping, "N_GREEDY", 3)
    monkeypatch.setattr(shipping, "N_BEAMS", 1)
    model, data, log = run_recipe(recipe, tmp_path / "run", show_progress=False)
    scores = shipping.ship("translator", tmp_path / "run", tmp_path / "weights")
    assert set(scores) == {"greedy", "beams"}
    for found in scores.values():
        assert list(found) == list(PAIR_SPLITS)
    read, vocabularies = load_shipped("translator", tmp_path / "weights")
    assert vocabularies.target.words == data.tokenizer.target.words
    assert read.config == model.config and read.head.weight is read.target_embedding.weight
    torch.testing.assert_close(read.positions, model.positions)  # not stored, made anew
    for ours, theirs in zip(model.parameters(), read.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)  # float16
    assert shipped_notes("translator", tmp_path / "weights")["log"] == log


def test_a_bert_is_shipped_with_its_scores(tmp_path, monkeypatch):
    recipe = tiny("bert")
    monkeypatch.setitem(recipes.RECIPES, "bert", lambda preset: recipe)
    monkeypatch.setattr(shipping, "N_MASKED", 2)
    # A vocabulary this small cuts names into pieces, which one mask cannot stand for.
    monkeypatch.setattr(shipping, "score", lambda model, tokenizer, questions: {})
    model, data, _ = run_recipe(recipe, tmp_path / "run", show_progress=False)
    scores = shipping.ship("bert", tmp_path / "run", tmp_path / "weights")
    assert scores == {"words": {}, "pairs": pair_accuracy(model, data.held_out)}
    read, tokenizer = load_shipped("bert", tmp_path / "weights")
    assert read.config == model.config and tokenizer.special_tokens == data.tokenizer.special_tokens
    for ours, theirs in zip(model.parameters(), read.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)  # float16


def test_a_model_that_converses_is_shipped_with_its_scores(tmp_path, monkeypatch):
    recipe = tiny("chat", n_steps=1)
    monkeypatch.setitem(recipes.RECIPES, "chat", lambda preset: recipe)
    monkeypatch.setattr(shipping, "N_TALKS", 2)
    model, _, _ = run_recipe(recipe, tmp_path / "run", show_progress=False)
    scores = shipping.ship("chat", tmp_path / "run", tmp_path / "weights")
    assert set(scores) == {"train", "new_pairs", "new_wordings"}
    assert set(scores["new_pairs"]) == {"right", "constraints", "stories", "style", "ended", "n"}
    assert all(name.startswith("unknowable") for name in scores["new_wordings"])
    read, tokenizer = load_shipped("chat", tmp_path / "weights")
    assert read.config == model.config and END in tokenizer.special_tokens


def test_what_has_no_world_cannot_be_probed(tmp_path):
    with pytest.raises(ValueError, match="'shakespeare' learns from a text"):
        shipping.ship("shakespeare", tmp_path)


def test_the_command_says_what_is_missing(tmp_path, recipe):
    result = CliRunner().invoke(shipping.main, ["base", "--run", str(tmp_path / "none")])
    assert result.exit_code == 1 and "none" in result.output and "Traceback" not in result.output
