"""The comparison of ways to tune on conversations, cut down to seconds."""

import json

import pytest
from click.testing import CliRunner

from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.training import chat_ways
from aigc_lab.training.chat_ways import RESULTS, WAYS, ChatWays, load_results, run
from aigc_lab.training.making_data import make_data

SMALL = ChatWays(n_steps=1, n_conversations=2, n_held_out=1, seeds=(0,))


def test_ways_differ_in_what_is_learned():
    batches = {way: make_data(SMALL.recipe(way, 0)).source.batch(0) for way in WAYS}
    replies, everything = batches["replies"], batches["everything"]
    assert (replies.tokens == everything.tokens).all()
    assert everything.n_targets > 2 * replies.n_targets
    learned = replies.targets != NO_TARGET
    assert (replies.targets[learned] == everything.targets[learned]).all()
    assert SMALL.recipe("no refusals", 0).data.unanswerable == 0
    held_out = [make_data(SMALL.recipe(way, seed)).held_out[0] for way in WAYS for seed in (0, 1)]
    assert all((batch.targets == held_out[0].targets).all() for batch in held_out)
    other = make_data(SMALL.recipe("replies", 1)).source.batch(0)
    assert other.tokens.tolist() != replies.tokens.tolist()


def test_a_small_run_is_written_and_read(tmp_path, monkeypatch):
    path = tmp_path / "new" / "results.json"
    monkeypatch.setattr(chat_ways, "ChatWays", lambda: SMALL)
    done = CliRunner().invoke(chat_ways.main, ["--results", str(path)])
    assert done.exit_code == 0, done.output
    found = load_results(path)
    assert found["settings"] == json.loads(json.dumps(SMALL.__dict__))
    assert list(found["ways"]) == list(WAYS)
    for runs in found["ways"].values():
        assert len(runs) == 1 and 0 < runs[0]["loss"] < 20
        assert 0 <= runs[0]["scores"]["ended"] <= 1
    assert run(SMALL, show_progress=False)["ways"] == found["ways"]
    with pytest.raises(FileNotFoundError, match="chat_ways"):
        load_results(tmp_path / "none.json")


def test_the_recorded_results_are_of_these_settings():
    found = load_results(RESULTS)
    assert found["settings"] == json.loads(json.dumps(ChatWays().__dict__))
    assert [len(runs) for runs in found["ways"].values()] == [3, 3, 3]
