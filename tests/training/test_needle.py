"""The comparison of ways to begin, at its smallest."""

import json
import math

import pytest
from click.testing import CliRunner

from aigc_lab.data.tiny_world import TinyWorld
from aigc_lab.models.gpt import GPTConfig
from aigc_lab.training import needle

SMALL = needle.Needle(
    model=GPTConfig(300, context_length=500, d_model=8, n_layers=2, n_heads=1, bias=True),
    n_steps=4,
    n_documents=2,
    measure_every=2,
    n_held_out=6,
    seeds=(0, 1),
    n_for_tokenizer=20,
)


@pytest.fixture(scope="module")
def results():
    return needle.run(SMALL, show_progress=False)


def test_every_way_has_a_curve_for_every_seed(results):
    assert results["steps"] == [2, 4]
    assert set(results["curves"]) == set(needle.WAYS)
    for curves in results["curves"].values():
        assert [len(curve) for curve in curves] == [2, 2] and curves[0] != curves[1]
    # An answer of several tokens, hardly trained: about log 300 for each of them.
    first = results["curves"]["random start"][0][0]
    assert 2 * math.log(300) < first < 15 * math.log(300)
    assert results["blind"] == math.log(len(SMALL.world.colours))


def test_who_knows_only_the_two_colours_loses_so_much(results):
    """Counted in many stories."""
    world = TinyWorld(SMALL.world)
    pairs = [list(world.document(number).state.colours.values()) for number in range(2000)]
    assert all(len(pair) == 2 for pair in pairs)
    lost = sum(math.log(len(set(pair))) for pair in pairs) / len(pairs)
    told = results["either"]
    assert abs(lost - told) < 4 * math.log(2) * math.sqrt(0.15 * 0.85 / len(pairs))


def test_an_answer_is_worded_in_three_ways():
    assert needle.answer_floor() == math.log(3)


def test_the_ways_differ_in_what_they_say():
    curves = needle.run(SMALL, show_progress=False)["curves"]
    assert len({json.dumps(curve) for curve in curves.values()}) == len(needle.WAYS)
    assert curves == needle.run(SMALL, show_progress=False)["curves"]


def test_the_command_writes_what_is_loaded(tmp_path, monkeypatch, results):
    monkeypatch.setattr(needle, "run", lambda study: results)
    path = tmp_path / "new" / "results.json"
    outcome = CliRunner().invoke(needle.main, ["--results", str(path)])
    assert outcome.exit_code == 0, outcome.output
    assert needle.load_results(path)["curves"] == results["curves"]
    with pytest.raises(FileNotFoundError, match=r"python -m aigc_lab\.training\.needle"):
        needle.load_results(tmp_path / "none.json")
