"""The comparison of translators, cut down to seconds."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from aigc_lab.data.tiny_world.translation import SPLITS
from aigc_lab.training import translators
from aigc_lab.training.recipes import get_recipe
from aigc_lab.training.translators import KINDS, RESULTS, Comparison, load_results, run, steps_of

SMALL = Comparison(
    preset="quick",
    seeds=(0, 1),
    measure_at=(2,),
    n_measured=3,
    n_final=3,
    norm_layers=1,
    norm_width=8,
    norm_steps=2,
    norm_warmup=1,
)


@pytest.fixture
def short(monkeypatch):
    def recipe(name, preset):
        found = get_recipe(name, preset)
        training = dataclasses.replace(found.training, n_steps=2, n_warmup=0)
        data = dataclasses.replace(found.data, batch_size=4, n_held_out=8)
        return dataclasses.replace(found, training=training, data=data)

    monkeypatch.setattr(translators, "get_recipe", recipe)


def test_every_cell_is_made_and_a_stopped_comparison_goes_on(tmp_path, short, monkeypatch):
    path = tmp_path / "results.json"
    made = []
    losses = Comparison._losses

    def stop_at_third(self, recipe):
        made.append(recipe.name)
        if len(made) == 3:
            raise KeyboardInterrupt
        return losses(self, recipe)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Comparison, "_losses", stop_at_third)
        run(SMALL, path, show_progress=False)
    kept = load_results(path)["runs"]
    remade = []
    with monkeypatch.context() as patch:
        patch.setattr(
            Comparison, "_losses", lambda self, r: remade.append(r.name) or losses(self, r)
        )
        found = run(SMALL, path, resume=True, show_progress=False)
    assert len(remade) == 6 and not kept.keys() & set(remade)
    assert found == load_results(path)
    runs = found["runs"]
    assert len(runs) == 2 * (len(KINDS) + 1 + 4)
    assert {name: runs[name] for name in kept} == kept and 0 < len(kept) < len(runs)
    one, other = runs["translator/0"], runs["translator/1"]
    assert len(one["losses"]) == 2 and one["losses"] != other["losses"]
    assert set(one["scores"]) == set(SPLITS) and set(one["curve"]) == {"2"} == set(other["curve"])
    assert runs["translator, smoothed/0"]["losses"][0] != one["losses"][0]
    pre, post = (runs[f"{norm}-norm without warm-up/0"]["losses"] for norm in ("pre", "post"))
    warm = runs["pre-norm with warm-up/0"]["losses"]
    assert pre[0] == warm[0] and pre[0] != post[0]


def test_a_comparison_of_other_settings_is_not_continued(tmp_path, short):
    path = tmp_path / "results.json"
    settings = json.loads(json.dumps(dataclasses.asdict(SMALL)))
    path.write_text(json.dumps({"settings": {**settings, "norm_lr": 1.0}, "runs": {}}))
    with pytest.raises(ValueError, match="has other settings"):
        run(SMALL, path, resume=True, show_progress=False)


def test_steps_are_those_of_the_training_loop(tmp_path):
    from small_recipes import tiny

    from aigc_lab.training.running import run_recipe

    recipe = tiny("translator")
    log = run_recipe(recipe, tmp_path, show_progress=False)[2]
    assert [run.loss for run in steps_of(recipe)] == pytest.approx([line["loss"] for line in log])


def test_missing_results_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m aigc_lab\.training\.translators"):
        load_results(tmp_path / "none.json")


def test_the_command_refuses_in_one_line(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"settings": {}, "runs": {}}))
    result = CliRunner().invoke(translators.main, ["--results", str(path), "--resume"])
    assert result.exit_code == 1 and "other settings" in result.output


def test_the_results_that_ship_are_of_the_settings_that_stand_in_the_code():
    assert load_results(RESULTS)["settings"] == json.loads(
        json.dumps(dataclasses.asdict(Comparison()))
    )
