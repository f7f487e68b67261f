"""The benchmarks run at tiny sizes; their times are nobody's business here."""

import dataclasses

import pytest
from click.testing import CliRunner

from aigc_lab.training import recipes
from benchmarks.__main__ import main
from benchmarks.timing import Result, median_seconds, table


@pytest.mark.parametrize("with_data", [True, False])
def test_tokenizer_part(monkeypatch, tmp_path, with_data):
    monkeypatch.setenv("AIGC_LAB_DATA", str(tmp_path))
    if with_data:
        (tmp_path / "tinyshakespeare.txt").write_text("the cat and the hat and the cat\n" * 9)
    arguments = ["tokenizer", "--merges", "5", "--characters", "2000", "--repeats", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "learn 5 merges from" in result.output
    assert ("tinyshakespeare is not there" in result.output) is not with_data
    assert "causal attention" not in result.output


def test_attention_part():
    result = CliRunner().invoke(main, ["attention", "--length", "4", "--repeats", "1"])
    assert result.exit_code == 0, result.output
    assert "T=4 " in result.output
    assert "merges" not in result.output


def test_shakespeare_part(monkeypatch, tmp_path):
    text = "the cat and the hat and the cat\n" * 40
    (tmp_path / "tinyshakespeare.txt").write_text(text)
    monkeypatch.setenv("AIGC_LAB_DATA", str(tmp_path))
    for name, context in (("shakespeare", 16), ("shakespeare-baseline", 8)):
        recipe = recipes.get_recipe(name)
        small = {"context_length": context, "d_model": 8, "n_layers": 1, "n_heads": 2}
        model = dataclasses.replace(recipe.model, vocab_size=len(set(text)), **small)
        training = dataclasses.replace(recipe.training, n_steps=60, n_warmup=1)
        tiny = dataclasses.replace(recipe, model=model, training=training)
        monkeypatch.setitem(recipes.RECIPES, name, lambda preset, tiny=tiny: tiny)
    result = CliRunner().invoke(main, ["shakespeare"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "until the loss is 1.88 (context 8)" in result.output
    assert "loss at the end (context 8 and 8)" in result.output
    assert "loss at the end (context 16 and 8)" in result.output
    assert "attention there" not in result.output


def test_shakespeare_part_without_the_text_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("AIGC_LAB_DATA", str(tmp_path))
    result = CliRunner().invoke(main, ["shakespeare"])
    assert result.exit_code == 1
    assert "python -m aigc_lab download tinyshakespeare" in result.output


def test_gpt_part():
    """The part itself raises if the two write different tokens or have different losses."""
    pytest.importorskip("transformers")
    result = CliRunner().invoke(main, ["gpt", "--tokens", "5", "--repeats", "1"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "write 5 tokens greedily, batch 16" in result.output
    assert result.output.count("a training step") == 2
    assert "2.5 times as fast" in result.output


def test_table_and_medians():
    lines = table(
        [
            Result("one", "1 s", "peer 2 s", "0.5x", "at most 1x", True),
            Result("another", "3 s", "peer 2 s", "1.5x", "at most 1x", False),
            Result("third", "3 s", "peer 2 s", "1.5x"),
        ]
    ).splitlines()
    assert lines[2].endswith("at most 1x  kept")
    assert lines[3].endswith("at most 1x  BROKEN")
    assert lines[4].endswith("1.5x")
    calls = []
    medians = median_seconds(lambda: calls.append("a"), lambda: calls.append("b"), repeats=3)
    assert calls == ["a", "b"] * 3
    assert len(medians) == 2
    assert all(seconds >= 0 for seconds in medians)
