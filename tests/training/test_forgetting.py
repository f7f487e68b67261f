"""The study of forgetting, cut down to seconds."""

import dataclasses
import json

import pytest
import torch
from click.testing import CliRunner

from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.models.lora import load_adapter, lora_layers
from aigc_lab.models.shipped import load_shipped
from aigc_lab.training import forgetting
from aigc_lab.training.forgetting import (
    RESULTS,
    SHIPPED,
    SHIPPED_FOLDER,
    WAYS,
    Forgetting,
    Way,
    adapter_size,
    load_results,
    new_questions,
    run,
    teach,
)

SMALL = Forgetting(
    n_steps=2, n_warmup=1, seeds=(3,), n_old=1, n_new=1, n_read=6, n_documents=2,
    ways=(SHIPPED, "all, 0.001"),
)  # fmt: skip


@pytest.fixture(scope="module")
def base():
    return load_shipped("base")


def lines_with_targets(batch, tokenizer):
    """The pieces of text that are learned, one for each run of targets."""
    pieces = []
    for row, targets in zip(batch.tokens, batch.targets, strict=True):
        is_target = (targets != NO_TARGET).tolist()
        for place, flag in enumerate(is_target):
            if flag and (place == 0 or not is_target[place - 1]):
                pieces.append([])
            if flag:
                pieces[-1].append(int(targets[place]))
        assert row.shape == targets.shape
    return [tokenizer.decode(piece) for piece in pieces]


def test_what_is_learned_is_the_answers_with_or_without_what_ends_them(base):
    _, tokenizer = base
    for stops in (True, False):
        way = Way(1e-3, learns_to_stop=stops)
        batch = new_questions(tokenizer, SMALL, way, 320, seed=0).batch(0)
        texts = lines_with_targets(batch, tokenizer)
        assert len(texts) >= 4
        for text in texts:
            words = text.removesuffix("\n").removesuffix("<|endoftext|>")
            assert words.startswith(" ") and words.endswith(".") and "\n" not in words
            assert (text != words) is stops
        whole = tokenizer.decode(batch.tokens[0].tolist())
        assert whole.count("Q: Where was") == whole.count("Q:")


def test_replay_mixes_old_questions_in_and_seeds_have_their_own_stories(base):
    _, tokenizer = base
    batch = new_questions(tokenizer, SMALL, Way(1e-3, replay=True), 320, seed=0).batch(0)
    text = "".join(tokenizer.decode(row.tolist()) for row in batch.tokens)
    n_new = text.count("Q: Where was")
    assert 4 <= n_new < text.count("Q:")
    plain = [new_questions(tokenizer, SMALL, Way(1e-3), 320, seed=s).batch(0) for s in (0, 1)]
    assert plain[0].tokens.shape != plain[1].tokens.shape or not torch.equal(
        plain[0].tokens, plain[1].tokens
    )


def test_every_way_is_measured_and_the_adapter_is_saved(tmp_path, base):
    found = run(SMALL, tmp_path / "adapter", show_progress=False)
    assert list(found["after"]) == list(SMALL.ways)
    for runs in (*found["after"].values(), [found["before"]]):
        assert len(runs) == 1 and set(runs[0]) == {"old", "new", "excess"}
    assert found["before"]["new"] == 0 and found["before"]["old"]["overall"] > 0.7
    assert found["after"]["all, 0.001"] != found["after"][SHIPPED]
    model = base[0]
    before = {name: p.clone() for name, p in model.named_parameters()}
    load_adapter(model, tmp_path / "adapter")
    layers = lora_layers(model)
    assert {layer.rank for layer in layers.values()} == {WAYS[SHIPPED].rank}
    assert any(layer.lora_B.weight.abs().max() > 0 for layer in layers.values())
    for name, p in model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(p, before[name.replace(".base.", ".")])


def test_the_size_of_the_paths_is_that_of_the_way():
    base = load_shipped("base")
    for way, factor in ((Way(1e-3, rank=4), 2), (Way(1e-3, rank=4, alpha=16), 4)):
        taught = teach(*base, SMALL, way, seed=0)
        assert {layer.alpha / layer.rank for layer in lora_layers(taught).values()} == {factor}


def test_the_command_writes_what_can_be_read(tmp_path, monkeypatch):
    small = dataclasses.replace(SMALL, ways=(SHIPPED,), n_steps=1, n_warmup=0)
    monkeypatch.setattr(forgetting, "Forgetting", lambda: small)
    path, adapter = tmp_path / "deep" / "results.json", tmp_path / "one"
    arguments = ["--results", str(path), "--adapter", str(adapter)]
    result = CliRunner().invoke(forgetting.main, arguments)
    assert result.exit_code == 0, result.output
    assert load_results(path)["settings"]["n_steps"] == 1
    assert adapter_size(adapter) > 100_000
    with pytest.raises(FileNotFoundError, match=r"python -m aigc_lab\.training\.forgetting"):
        load_results(tmp_path / "none.json")


def test_what_ships_is_of_the_settings_in_the_code_and_of_the_shipped_base():
    settings = json.loads(json.dumps(dataclasses.asdict(Forgetting())))
    assert load_results(RESULTS)["settings"] == settings
    load_adapter(load_shipped("base")[0], SHIPPED_FOLDER)
