"""The studies of classifiers, cut down to seconds."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from aigc_lab.training import overfitting, what_to_train
from aigc_lab.training.overfitting import CURES, Overfitting
from aigc_lab.training.what_to_train import (
    LAST_WORDS,
    WORDS,
    WhatToTrain,
    last_sentence,
    make_classifier,
    make_texts,
    measure,
    run,
)

SMALL = WhatToTrain(n_examples=(6, 10), n_test=8, n_steps=1, batch_size=2, seeds=(0, 1))
MESSAGES = "".join(
    f"{'spam' if n % 3 == 0 else 'ham'}\tmessage {'win ' * (n % 3 == 0)}{chr(97 + n)}\n"
    for n in range(26)
)


@pytest.fixture
def messages(tmp_path, monkeypatch):
    (tmp_path / "sms_spam.tsv").write_text(MESSAGES * 2, encoding="utf-8")
    monkeypatch.setenv("AIGC_LAB_DATA", str(tmp_path))


def test_every_way_and_size_has_a_number_for_each_seed(messages, monkeypatch):
    ways = {"wishes": ("BERT, random, head", "BERT, head"), "messages": ("GPT, last block",)}
    monkeypatch.setattr(what_to_train, "TASKS", ways)
    found = run(SMALL, ("wishes", "messages"), show_progress=False)
    for name, own in ways.items():
        counts = [WORDS, LAST_WORDS] if name == "wishes" else [WORDS]
        assert list(found[name]["scores"]) == [*counts, *own]
        for by_size in found[name]["scores"].values():
            assert [len(runs) for runs in by_size.values()] == [2, 2]
            assert list(by_size) == ["6", "10"]
        assert set(found[name]["seconds"]) == set(found[name]["parameters"]) == set(own)
    assert found["wishes"]["parameters"]["BERT, head"] == 258
    assert found["messages"]["parameters"]["GPT, last block"] > 100_000
    assert found["wishes"]["share"] == 0.5


def test_texts_of_seeds_differ_and_training_and_test_do_not_meet(messages):
    for name in ("wishes", "messages"):
        sets = [make_texts(name, SMALL, seed) for seed in (0, 1)]
        assert sets[0][0] != sets[1][0]
        for train, test in sets:
            assert (len(train), len(test)) == (10, 8)
            assert not {text for text, _ in train} & {text for text, _ in test}
    small = dataclasses.replace(SMALL, n_examples=(4,))
    assert make_texts("messages", small, 0)[0] == make_texts("messages", SMALL, 0)[0][:4]


def test_the_last_sentence_is_the_last_one_told():
    assert last_sentence("Mei had a lamp. Bao ran to the hill. ") == "Bao ran to the hill."
    assert last_sentence("One.") == "One."


def test_random_and_pretrained_differ_in_the_body():
    ways = what_to_train.WAYS
    for name, weight in (("BERT", "blocks.0.up.weight"), ("GPT", "blocks.0.attention.out.weight")):
        one, two, random = (
            make_classifier(ways[f"{name}, {way}"], 32)[0] for way in ("all", "head", "random, all")
        )
        same, other = (model.body.get_parameter(weight) for model in (two, random))
        mine = one.body.get_parameter(weight)
        assert mine.equal(same) and not mine.equal(other)
    assert mine.requires_grad and not same.requires_grad


def test_measures_are_scikit_learns():
    chance = np.random.default_rng(0)
    logits, truth = chance.normal(size=(50, 2)), chance.integers(2, size=50)
    found = measure(logits, truth)
    said = logits.argmax(1)
    theirs = precision_recall_fscore_support(truth, said, labels=[1])[:3]
    ours = [found[name] for name in ("precision", "recall", "f1")]
    assert np.allclose(ours, np.ravel(theirs), atol=1e-4)
    assert found["accuracy"] == accuracy_score(truth, said)


def test_copies_are_counted(messages):
    found = what_to_train.copies(n_test=20, seed=1)
    assert (found["n"], found["n_different"]) == (52, 26)
    lines = (MESSAGES * 2).splitlines()
    order = np.random.default_rng(1).permutation(52)
    test, train = ([lines[number] for number in part] for part in (order[:20], order[20:]))
    spam = [line for line in test if line.startswith("spam")]
    share = sum(line in train for line in spam) / len(spam)
    assert found["share_seen"] == pytest.approx(share, abs=1e-4) and share > 0
    assert 0 <= found["recall_without_copies"] <= 1


def test_the_commands_write_what_can_be_read(tmp_path, monkeypatch, messages):
    monkeypatch.setattr(what_to_train, "TASKS", {"wishes": ("BERT, head",)})
    monkeypatch.setattr(what_to_train, "WhatToTrain", lambda: SMALL)
    monkeypatch.setattr(what_to_train, "copies", lambda seed: {"n": seed})
    small = Overfitting(8, 4, 4, n_steps=2, batch_size=2, every=1, seeds=(0,))
    monkeypatch.setattr(overfitting, "Overfitting", lambda: small)
    for module, command in (
        (what_to_train, r"aigc_lab\.training\.what_to_train"),
        (overfitting, r"aigc_lab\.training\.overfitting"),
    ):
        path = tmp_path / "deep" / module.__name__ / "results.json"
        result = CliRunner().invoke(module.main, ["--results", str(path)])
        assert result.exit_code == 0, result.output
        assert module.load_results(path)["settings"]["seeds"]
        with pytest.raises(FileNotFoundError, match=command):
            module.load_results(tmp_path / "none.json")


def test_each_cure_is_a_training_of_its_own():
    small = Overfitting(8, 4, 4, n_steps=3, batch_size=4, lr=1e-2, every=1, seeds=(0,))
    found = overfitting.run(small, show_progress=False)
    runs = {cure: found[cure][0] for cure in CURES}
    assert all(run["steps"] == [0, 1, 2, 3] for run in runs.values())
    for key in ("train", "validation"):
        assert runs["none"][key] == runs["early stopping"][key]
        assert len({tuple(run[key]) for run in runs.values()}) == len(CURES) - 1
    assert len({run["train"][0] for run in runs.values()}) == 1


@pytest.mark.parametrize(
    ("module", "settings"), [(what_to_train, WhatToTrain), (overfitting, Overfitting)]
)
def test_the_results_that_ship_are_of_the_settings_in_the_code(module, settings):
    told = json.loads(json.dumps(dataclasses.asdict(settings())))
    assert module.load_results(module.RESULTS)["settings"] == told
