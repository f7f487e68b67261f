"""The study of written steps, cut down to seconds."""

import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner

from aigc_lab.data.written_sums import Characters, WrittenSums, draw_sums, write_answer
from aigc_lab.training import chain_of_thought
from aigc_lab.training.chain_of_thought import (
    KINDS,
    RESULTS,
    Study,
    addition_scores,
    load_adder,
    load_results,
    run,
    save_adder,
    small_gpt,
    train_adder,
    updates_and_tokens,
    write_sums,
)

SMALL = Study(
    model=dataclasses.replace(small_gpt(), d_model=16, n_layers=1, n_heads=2),
    n_examples=(10,),
    digits=(1, 2),
    tested=(1, 2),
    n_test=5,
    n_updates=3,
    batch_size=4,
    n_warmup=1,
    seeds=(0, 1),
)


def test_equal_examples_and_equal_tokens_are_equal():
    found = {
        kind: updates_and_tokens(SMALL, way, same, 10, 0) for kind, (way, same) in KINDS.items()
    }
    assert found["steps"][0] == found["plain"][0] == found["dots"][0] == SMALL.n_updates
    assert found["steps"][1] == found["dots"][1] > 1.5 * found["plain"][1]
    sums = draw_sums(10, SMALL.digits, 0)
    for kind, way in (("plain, equal tokens", "plain"), ("reversed, equal tokens", "reversed")):
        n_updates, n_tokens = found[kind]
        source = WrittenSums(sums, way, SMALL.batch_size, 0)
        one_less = sum(source.n_tokens(step) for step in range(n_updates - 1))
        assert one_less < found["steps"][1] <= n_tokens
        assert n_tokens == one_less + source.n_tokens(n_updates - 1)


def test_runs_are_recorded_and_resumed(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "results.json"
    found = run(SMALL, path, show_progress=False)
    assert len(found["runs"]) == len(KINDS) * 2 and load_results(path) == found
    for one in found["runs"].values():
        assert set(one) == {"updates", "tokens", "1", "2"}
        assert set(one["2"]) == {"right", "read", "written"}
    name = "dots/10/1"
    without = {**found, "runs": {k: v for k, v in found["runs"].items() if k != name}}
    path.write_text(json.dumps(without))
    made = []
    original = chain_of_thought.train_adder
    monkeypatch.setattr(
        chain_of_thought, "train_adder", lambda *given: made.append(given) or original(*given)
    )
    assert run(SMALL, path, resume=True, show_progress=False) == found
    assert len(made) == 1 and made[0][1:] == ("dots", 10, 3, 1)
    with pytest.raises(ValueError, match="has other settings"):
        run(dataclasses.replace(SMALL, lr=1e-3), path, resume=True, show_progress=False)


class Clerk:
    """Stands in for `write_sums`: writes what it is told for each sum."""

    def __init__(self, write):
        self.write = write

    def __call__(self, model, sums):
        return [self.write(a, b) for a, b in sums]


def test_scores_count_the_answers_and_not_the_numbers_in_the_steps(monkeypatch):
    sums = [(37, 48), (12, 34), (50, 50), (11, 12)]
    texts = {
        (37, 48): write_answer(37, 48, "steps"),
        (12, 34): "2+4=6;1+3=4;64",
        (50, 50): "0+0=0;5+5=10c1",
        (11, 12): "23",
    }
    monkeypatch.setattr(chain_of_thought, "write_sums", Clerk(lambda a, b: texts[a, b]))
    found = addition_scores(None, sums, "steps")
    assert found["right"] == 0.5 and found["read"] == 0.75
    assert found["written"] == sum(len(text) + 1 for text in texts.values()) / 4
    backwards = Clerk(lambda a, b: write_answer(a, b, "reversed"))
    monkeypatch.setattr(chain_of_thought, "write_sums", backwards)
    assert addition_scores(None, sums, "reversed")["right"] == 1
    assert addition_scores(None, [(12, 34)], "plain")["right"] == 0  # 64


def test_a_model_learns_a_few_sums_by_heart():
    study = dataclasses.replace(SMALL, model=small_gpt(), batch_size=16, lr=1e-2)
    model = train_adder(study, "steps", 2, 60, seed=0)
    sums = draw_sums(2, SMALL.digits, 0)
    assert addition_scores(model, sums, "steps")["right"] == 1
    assert write_sums(model, sums) == [write_answer(a, b, "steps") for a, b in sums]


def test_the_adder_that_ships_is_read_whole(tmp_path):
    torch.manual_seed(0)
    model = chain_of_thought.GPT(small_gpt())
    save_adder(model, tmp_path / "adder.safetensors")
    again = load_adder(tmp_path / "adder.safetensors")
    for name, p in model.named_parameters():
        assert torch.equal(again.get_parameter(name), p.half().float())
    with pytest.raises(FileNotFoundError, match=r"python -m aigc_lab\.training\.chain_of"):
        load_adder(tmp_path / "none.safetensors")
    found = addition_scores(load_adder(), draw_sums(50, (2,), 5), "steps")
    assert 0.3 < found["right"] < 1 and found["read"] > 0.9
    assert load_adder().config.vocab_size == Characters().vocab_size


def test_the_command_writes_results_and_the_adder(tmp_path, monkeypatch):
    small = dataclasses.replace(SMALL, seeds=(0,), model=small_gpt())
    monkeypatch.setattr(chain_of_thought, "Study", lambda: small)
    monkeypatch.setattr(chain_of_thought, "ADDER_UPDATES", 2)
    path = tmp_path / "results.json"
    result = CliRunner().invoke(chain_of_thought.main, ["--results", str(path)])
    assert result.exit_code == 0, result.output
    assert len(load_results(path)["runs"]) == len(KINDS)
    assert load_adder(tmp_path / "adder.safetensors").config == small_gpt()


def test_the_results_that_ship_are_of_the_settings_that_stand_in_the_code():
    settings = json.loads(json.dumps(dataclasses.asdict(Study())))
    assert load_results(RESULTS)["settings"] == settings
