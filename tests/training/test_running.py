"""From recipe to trained model, as a function and from the command line."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from small_recipes import TEXT, tiny

from aigc_lab.__main__ import main
from aigc_lab.data.tiny_world import TinyWorld, read_story
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.training import recipes
from aigc_lab.training.interruptions import Stopped
from aigc_lab.training.making_data import START, make_data, make_tokenizer
from aigc_lab.training.recipe_data import Lesson
from aigc_lab.training.run_folder import CHECKPOINT_FILE, LOG_FILE
from aigc_lab.training.running import make_model, run_recipe


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "tinyshakespeare.txt").write_text(TEXT)
    monkeypatch.setenv("AIGC_LAB_DATA", str(folder))


@pytest.fixture
def tiny_recipes(monkeypatch):
    for name in recipes.RECIPES:
        recipe = tiny(name)
        monkeypatch.setitem(recipes.RECIPES, name, lambda preset, recipe=recipe: recipe)


@pytest.mark.parametrize("name", sorted(recipes.RECIPES))
def test_a_recipe_trains_and_leaves_everything_in_its_folder(tmp_path, name):
    recipe = tiny(name)
    model, data, log = run_recipe(recipe, tmp_path / "run", show_progress=False)
    assert model.config == recipe.model
    assert [line["step"] for line in log] == [1, 2, 3]
    assert log[-1]["eval_loss"] > 0
    content = json.loads((tmp_path / "run" / "recipe.json").read_bytes())
    assert content["recipe"]["lr"] == recipe.lr
    if name == "base":
        file = tmp_path / "run" / "tokenizer.json"
        assert Tokenizer.load(file).merges == data.tokenizer.merges
    if name not in ("shakespeare", "shakespeare-baseline"):
        file = tmp_path / "run" / "tokenizer.json"
        assert content["sha256"] == recipe.sha256(file.read_bytes())
    else:
        assert content["sha256"] == recipe.sha256()


def test_a_text_is_split_and_nothing_of_the_end_is_trained_on():
    data = make_data(tiny("shakespeare"))
    n_train = int(len(TEXT) * 0.9)
    assert len(data.source.tokens) == n_train
    assert sum(batch.n_targets for batch in data.held_out) == len(TEXT) - n_train - 1
    alphabet = sorted(set(TEXT))
    first = "".join(alphabet[i] for i in data.held_out[0].tokens[0])
    assert first == TEXT[n_train:][:32]
    assert data.floor is None


def test_a_world_gives_its_own_documents_and_the_floor_of_the_others():
    recipe = tiny("base")
    data = make_data(recipe)
    batch = data.source.batch(1)
    world = TinyWorld(recipe.data.world)
    start = data.tokenizer.special_tokens[START]
    expected = {world.document(i).text for i in range(6, 12)}
    found = set()
    for row, numbers in zip(batch.tokens, batch.documents, strict=True):
        for number in numbers.unique():
            ids = row[numbers == number].tolist()
            assert ids[0] == start
            found.add(data.tokenizer.decode(ids[1:]))
    assert expected <= found
    # The floor: nats of the held-out documents, over their tokens and their ends.
    others = list(TinyWorld(recipe.data.held_out).documents(18))
    n_targets = sum(len(data.tokenizer.encode(d.text)) + 1 for d in others)
    assert data.floor == pytest.approx(-sum(d.log_prob for d in others) / n_targets)
    assert sum(b.n_targets for b in data.held_out) == n_targets


def test_a_tokenizer_cuts_numbers_into_digits_and_is_the_same_every_time():
    data = tiny("base").data
    tokenizer = make_tokenizer(data.world, data.n_for_tokenizer, data.vocab_size)
    assert (
        tokenizer.merges == make_tokenizer(data.world, data.n_for_tokenizer, data.vocab_size).merges
    )
    assert tokenizer.vocab_size == 400
    assert [tokenizer.decode([i]) for i in tokenizer.encode("93 + 48")] == [*"93", " +", " ", *"48"]


def test_a_vocabulary_of_another_size_is_refused():
    recipe = tiny("base")
    wrong = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, vocab_size=500))
    with pytest.raises(ValueError, match="vocab_size=500, but its data make it 400"):
        make_data(wrong)


def test_the_seed_decides_the_first_weights():
    one, same = make_model(tiny("base")), make_model(tiny("base"))
    other = make_model(dataclasses.replace(tiny("base"), seed=1))
    assert torch.equal(one.embedding.weight, same.embedding.weight)
    assert not torch.equal(one.embedding.weight, other.embedding.weight)


def test_a_run_is_resumed_by_its_own_recipe_only(tmp_path, monkeypatch):
    def stop(*arguments, **more):
        raise Stopped("as if by Ctrl-C")

    folder = tmp_path / "run"
    straight, _, _ = run_recipe(tiny("base"), tmp_path / "straight", show_progress=False)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("aigc_lab.training.loop.write_line", stop)
        run_recipe(tiny("base"), folder, show_progress=False)
    other = dataclasses.replace(tiny("base"), lr=0.123)
    with pytest.raises(ValueError, match="was begun with another recipe"):
        run_recipe(other, folder, resume=True, show_progress=False)
    with pytest.raises(FileExistsError, match="already holds a run"):
        run_recipe(tiny("base"), folder, show_progress=False)
    resumed, _, log = run_recipe(tiny("base"), folder, resume=True, show_progress=False)
    assert [line["step"] for line in log] == [1, 2, 3]
    pairs = zip(straight.parameters(), resumed.parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        run_recipe(tiny("base"), tmp_path / "nothing", resume=True)


# ------------------------------------------------------------------------------------- command line


def call(*arguments):
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def test_the_command_trains_refuses_to_overwrite_and_overwrites(tmp_path, tiny_recipes):
    folder = tmp_path / "run"
    result = call("base", "--folder", folder)
    assert result.exit_code == 0, result.output
    assert "held-out loss" in result.output and "nothing can be below" in result.output
    before = (folder / CHECKPOINT_FILE).read_bytes()
    refused = call("base", "--folder", folder)
    assert refused.exit_code == 1
    assert "already holds a run" in refused.output and "--force" in refused.output
    assert (folder / CHECKPOINT_FILE).read_bytes() == before
    assert call("base", "--folder", folder, "--resume").exit_code == 0
    assert call("shakespeare", "--folder", folder, "--force").exit_code == 0
    assert len((folder / LOG_FILE).read_text().splitlines()) == 3
    both = call("base", "--folder", folder, "--resume", "--force")
    assert both.exit_code == 2 and "give one of them" in both.output


def test_the_default_folder_is_named_by_recipe_and_preset(tmp_path, tiny_recipes, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("shakespeare", "--preset", "quick").exit_code == 0
    assert (tmp_path / "runs" / "shakespeare-quick" / CHECKPOINT_FILE).exists()


def test_the_command_names_the_choices_and_what_is_missing(tmp_path, tiny_recipes):
    unknown = call("gpt5")
    assert unknown.exit_code == 2 and "shakespeare-baseline" in unknown.output
    preset = call("base", "--preset", "fast")
    assert preset.exit_code == 2 and "'quick', 'full'" in preset.output
    nothing = call("base", "--folder", tmp_path / "x", "--resume")
    assert nothing.exit_code == 1 and "no run to resume" in nothing.output
    (tmp_path / "data" / "tinyshakespeare.txt").unlink()
    missing = call("shakespeare", "--folder", tmp_path / "y")
    assert missing.exit_code == 1
    assert "python -m aigc_lab download tinyshakespeare" in missing.output


def test_ctrl_c_ends_the_command_with_the_way_to_go_on(tmp_path, tiny_recipes, monkeypatch):
    def stop(*arguments, **more):
        raise Stopped("stopped after step 2; resume (--resume)")

    monkeypatch.setattr("aigc_lab.training.running.train", stop)
    result = call("base", "--folder", tmp_path / "run")
    assert result.exit_code == 130
    assert "resume (--resume)" in result.output


def test_torch_is_loaded_only_by_the_command_that_needs_it():
    code = (
        "import sys; from click.testing import CliRunner; from aigc_lab.__main__ import main; "
        "out = CliRunner().invoke(main, ['download', '--list']); assert out.exit_code == 0; "
        "assert 'torch' not in sys.modules; "
        "assert 'train' in CliRunner().invoke(main, ['--help']).output"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_answers_are_learned_at_first_from_documents_that_do_not_come_again():
    recipe = tiny("base")
    recipe = dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, lessons=(Lesson(1, 4, (0, 1)), Lesson(1, 7, (3, 4)))),
    )
    data = make_data(recipe)
    world = TinyWorld(recipe.data.world)
    learned, read = [], []
    for step in range(3):
        batch = data.source.batch(step)
        for row in range(len(batch.tokens)):
            for number in batch.documents[row].unique():
                here = batch.documents[row] == number
                targets = batch.targets[row, here]
                if step < 2:
                    lines = data.tokenizer.decode(batch.tokens[row, here].tolist()[1:]).split("\n")
                    if set(batch.tokens[row, here].tolist()) == {
                        data.tokenizer.special_tokens[START]
                    }:
                        continue  # padding
                    said = "".join(line[2:] for line in lines if line.startswith("A:"))
                    learned.append((data.tokenizer.decode(targets[targets >= 0].tolist()), said))
                    read.append("\n".join(lines))
                elif (targets >= 0).any():
                    assert (targets >= 0).all()
    assert len(learned) == 4 + 7 and all(said for _, said in learned)
    assert all(found == said for found, said in learned)
    assert not {d.text for d in world.documents(200)} & set(read)
    # The stories of a lesson are as long as it says.
    few, more = read[:4], read[4:]
    assert len(more) == 7
    assert max(map(events_of, few)) <= 1 and {events_of(text) for text in more} <= {3, 4}
    # After that, the world from its first document on.
    plain = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, lessons=()))
    first = make_data(plain).source.batch(0)
    assert torch.equal(first.targets, data.source.batch(2).targets)


def events_of(text: str) -> int:
    reading = read_story(text.split("\n")[0])
    assert reading.is_consistent
    return reading.state.n_events
