"""The knobs of the world: what is impossible is refused, and the same seed is the same world."""

import pytest

from aigc_lab.data.tiny_world import TinyWorld, WorldSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, r"split='test' is not one of"),
        ({"mix": (1, 0, 0)}, r"mix=\(1, 0, 0\) must hold four finite weights"),
        ({"mix": (0, 0, 0, 0)}, "at least one above 0"),
        ({"mix": (1, -1, 0, 0)}, "none below 0"),
        ({"people": ()}, r"people=\(\) must hold at least one"),
        ({"people": ("Amara", "Zorro")}, "'Zorro' is not among them"),
        ({"people": ("Amara", "Amara")}, "each once"),
        ({"people": ("Amara",)}, "n_people="),
        ({"places": ("garden",)}, "people walk about"),
        ({"colours": ("purple",)}, "'purple'"),
        ({"question_kinds": ("why",)}, "'why'"),
        ({"n_people": (1, 2)}, r"n_people=\(1, 2\) must be \(least, largest\) between 2 and"),
        ({"n_people": (3, 2)}, r"n_people=\(3, 2\)"),
        ({"n_things": (1, 15)}, r"between 1 and 14"),
        ({"n_sums": (0, 2)}, "n_sums"),
        ({"end_chance": 1.5}, "end_chance=1.5 must lie between 0 and 1"),
        ({"purpose": 0}, "purpose=0 must be above 0"),
        ({"purpose": float("nan")}, "purpose=nan must be above 0 and finite"),
        ({"mentioned": float("inf")}, "mentioned=inf must be above 0 and finite"),
        ({"mix": (1, float("nan"), 0, 0)}, "must hold four finite weights"),
        ({"largest_addend": 5}, "largest_addend=5"),
        ({"things": ("kite",), "n_things": (1, 1)}, "nothing to wish for"),
        ({"things": ("lamp",), "n_things": (1, 1), "split": "new_pairs"}, "nothing to wish for"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        WorldSettings(**changes)


def test_same_settings_same_documents():
    texts = [d.text for d in TinyWorld().documents(20)]
    assert texts == [d.text for d in TinyWorld().documents(20)]
    assert texts == [TinyWorld().document(i).text for i in range(20)]
    assert len(set(texts)) == 20


def test_seeds_and_splits_are_different_worlds():
    texts = {d.text for d in TinyWorld().documents(50)}
    for settings in (WorldSettings(seed=1), WorldSettings(split="new_questions")):
        assert texts.isdisjoint(d.text for d in TinyWorld(settings).documents(50))


def test_negative_index():
    with pytest.raises(ValueError, match="index=-1 must be at least 0"):
        TinyWorld().document(-1)


def test_it_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, aigc_lab.data.tiny_world; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
