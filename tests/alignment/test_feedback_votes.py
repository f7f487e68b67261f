"""Votes: none is lost, doubled or glued to another, whatever happens while it is written."""

import json
import os
import random
import subprocess
import sys
import time
import warnings

import pytest
from feedback_helpers import NASTY, some_pairs, vote_on

from aigc_lab.alignment.feedback import votes as votes_module
from aigc_lab.alignment.feedback.judging import Judging
from aigc_lab.alignment.feedback.pairs import Pair, PairError, load_pairs, save_pairs
from aigc_lab.alignment.feedback.vote import CHOICES, AlreadyJudgedError, Vote, VoteError
from aigc_lab.alignment.feedback.votes import append_vote, preferences_of, read_votes, undo_vote
from aigc_lab.data.preferences import (
    Preference,
    PreferenceError,
    load_preferences,
    save_preferences,
)

# A program that appends votes and confirms each when it is saved: path, first, last, ids, text.
APPENDING = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from feedback_helpers import vote_on
from aigc_lab.alignment.feedback.votes import append_vote
path, labeller = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for k in range(int(sys.argv[3]), int(sys.argv[4])):
    is_new = append_vote(path, vote_on(k, labeller=labeller, vote_id=f"{{labeller}} {{k}}"))
    print(k, is_new, flush=True)
"""


def appending(root, path, labeller: str, first: int, last: int) -> subprocess.Popen:
    code = APPENDING.format(tests=str(root / "tests" / "alignment"))
    arguments = [sys.executable, "-c", code, str(path), labeller, str(first), str(last)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, cwd=root)
    assert process.stdout.readline() == "ready\n"
    return process  # begins when a line is sent to it, so that two can begin together


def run_together(*processes: subprocess.Popen) -> list[str]:
    """What each says from the beginning to its end."""
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate()[0] for process in processes]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes.jsonl"


@pytest.fixture
def no_fsync(monkeypatch):
    """For tests of many appends that are not about the disk."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


# ------------------------------------------------------------------------------- a vote, and back


def test_votes_are_read_as_they_were_given(path):
    given = [vote_on(k, choice) for k, choice in enumerate(CHOICES)]
    given.append(Vote("x", (("system", NASTY), ("user", "你好")), NASTY, "\ud800", "b", "Li", "a"))
    assert [append_vote(path, vote) for vote in given] == [True] * 5
    assert read_votes(path) == given
    assert path.read_bytes().count(b"\n") == 5
    record = json.loads(path.read_bytes().split(b"\n")[0])
    assert record["left"] == "b" and record["time"].endswith("+00:00")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"choice": "c"}, "choice='c' is not one of"),
        ({"choice": ["a"]}, "choice=.'a'. is not"),
        ({"left": "left"}, "left='left' is not"),
        ({"labeller": ""}, "labeller='' must be a text of at least one"),
        ({"pair_id": 3}, "pair_id=3 must be a text"),
        ({"vote_id": None}, "vote_id=None must be"),
        ({"b": None}, "b=None must be a text"),
        ({"b": "A of 0."}, "a and b are both 'A of 0.'"),
        ({"time": "yesterday"}, "time='yesterday' is no time in UTC"),
        ({"time": "2025-01-31T12:00:00"}, "is no time in UTC"),
        ({"time": "2025-01-31T12:00:00+08:00"}, "is no time in UTC"),
        ({"time": 5}, "time=5 is no time"),
    ],
)
def test_what_is_no_vote(changes, words):
    values = {name: getattr(vote_on(0), name) for name in vote_on(0).__dataclass_fields__}
    with pytest.raises(VoteError, match=words):
        Vote(**values | changes)
    with pytest.raises(PreferenceError, match="there are no messages"):
        Vote(**values | {"messages": ()})


def test_votes_become_preferences_like_any_others(path, tmp_path):
    for k, choice in enumerate(["a", "b", "tie", "skip", "skip"]):
        append_vote(path, vote_on(k, choice))
    judged = preferences_of(read_votes(path))
    assert judged.preferences == [
        Preference((("user", "Story 0?"),), "A of 0.", "B of 0."),
        Preference((("user", "Story 1?"),), "B of 1.", "A of 1."),
    ]
    assert (judged.n_ties, judged.n_skips) == (1, 2)
    save_preferences(tmp_path / "preferences.jsonl", judged.preferences)
    assert load_preferences(tmp_path / "preferences.jsonl") == judged.preferences
    assert preferences_of([]) == ([], 0, 0)


# ----------------------------------------------------------------------------- repeats and undoing


def test_the_same_vote_counts_once_even_later(path):
    first = vote_on(0, vote_id="x")
    again = vote_on(0, vote_id="x", time="2030-01-01T00:00:00+00:00")
    assert [append_vote(path, vote) for vote in (first, first, again)] == [True, False, False]
    assert read_votes(path) == [first] and path.read_bytes().count(b"\n") == 1
    with pytest.raises(VoteError, match="'x' belongs to another vote"):
        append_vote(path, vote_on(0, "b", vote_id="x"))
    assert undo_vote(path, "x", "Mei")
    assert not append_vote(path, again)  # a request that comes late does not undo the undoing
    assert read_votes(path) == []


def test_a_pair_is_judged_once_by_each_labeller(path):
    append_vote(path, vote_on(0, "a"))
    with pytest.raises(AlreadyJudgedError, match="'Mei' has judged the pair 'pair 0' already"):
        append_vote(path, vote_on(0, "b"))
    append_vote(path, vote_on(0, "b", labeller="Omar"))
    append_vote(path, vote_on(1, "b"))
    assert [vote.choice for vote in read_votes(path)] == ["a", "b", "b"]


def test_undoing_adds_a_line_and_deletes_none(path):
    for k in range(2):
        append_vote(path, vote_on(k, vote_id=f"v{k}"))
    before = path.read_bytes()
    assert undo_vote(path, "v1", "Mei")
    assert path.read_bytes().startswith(before)
    assert [vote.vote_id for vote in read_votes(path)] == ["v0"]
    assert not undo_vote(path, "v1", "Mei")  # twice is once
    for vote_id, labeller in (("v0", "Omar"), ("v7", "Mei")):
        with pytest.raises(VoteError, match=f"'{vote_id}' is no vote of '{labeller}'"):
            undo_vote(path, vote_id, labeller)
    append_vote(path, vote_on(1, "b"))
    assert [vote.choice for vote in read_votes(path)] == ["a", "b"]


# -------------------------------------------------------------------------------- crashes and locks


def test_every_confirmed_vote_survives_kill_9(root, path):
    chance, confirmed = random.Random(0), 0
    for _ in range(3):
        process = appending(root, path, "Mei", confirmed, 10**6)
        process.stdin.write("\n")
        process.stdin.flush()
        n_wanted = chance.randint(3, 12)
        for _ in range(n_wanted):
            number, _ = process.stdout.readline().split()
            confirmed = int(number) + 1
        time.sleep(chance.random() * 0.01)
        process.kill()  # SIGKILL
        rest = process.stdout.read().split("\n")
        process.wait()
        process.stdin.close()
        confirmed += sum(line.endswith(("True", "False")) for line in rest)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {vote.vote_id for vote in read_votes(path)}
        assert {f"Mei {k}" for k in range(confirmed)} <= found
    assert confirmed > 9


def test_the_bytes_are_on_the_disk_before_a_vote_is_confirmed(path, monkeypatch):
    sizes, fsync = [], os.fsync

    def noted(file):
        fsync(file)
        sizes.append(path.stat().st_size)

    monkeypatch.setattr(os, "fsync", noted)
    append_vote(path, vote_on(0))
    if hasattr(os, "O_DIRECTORY"):
        assert len(sizes) == 2  # the new name in the folder too
    append_vote(path, vote_on(1))
    assert sizes[0] > 0 and sizes[-1] == path.stat().st_size > sizes[0]


def test_a_vote_cut_anywhere_is_reported_and_harms_no_other(path, no_fsync):
    first, second, third = (vote_on(k) for k in range(3))
    append_vote(path, first)
    start = path.stat().st_size
    append_vote(path, second)
    whole = path.read_bytes()
    for size in range(start, len(whole) + 1):
        path.write_bytes(whole[:size])
        is_whole = size >= len(whole) - 1  # but perhaps for its newline
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert read_votes(path) == ([first, second] if is_whole else [first])
        assert len(caught) == (start < size < len(whole) - 1), size
        for warning in caught:
            assert "votes.jsonl: left out what was cut short" in str(warning.message)
            assert "on line 2" in str(warning.message)
        append_vote(path, third)
        content = path.read_bytes()
        assert content.startswith(whole[:size])  # nothing is deleted
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_votes(path) == ([first, second, third] if is_whole else [first, third])


def test_a_crash_while_going_on_after_a_crash(path, no_fsync):
    append_vote(path, vote_on(0))
    path.write_bytes(path.read_bytes() + b'{"vote": "caf\xc3')  # cut inside a character
    start = path.stat().st_size
    append_vote(path, vote_on(1, vote_id="v1"))
    whole = path.read_bytes()
    for size in range(start, len(whole)):
        path.write_bytes(whole[:size])
        append_vote(path, vote_on(2, vote_id="v2"))
        with pytest.warns(UserWarning, match="on line 2"):
            found = read_votes(path)
        assert [v.pair_id for v in found if v.vote_id != "v1"] == ["pair 0", "pair 2"]
        assert ("v1" in [v.vote_id for v in found]) == (size == len(whole) - 1)


def test_two_programs_at_once(root, path):
    said = run_together(*(appending(root, path, name, 0, 30) for name in ("Mei", "Omar")))
    assert [text.count("True") for text in said] == [30, 30]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {vote.vote_id for vote in read_votes(path)}
    assert found == {f"{name} {k}" for name in ("Mei", "Omar") for k in range(30)}


def test_two_programs_that_send_the_same_votes(root, path):
    said = run_together(*(appending(root, path, "Mei", 0, 40) for _ in range(2)))
    assert said[0].count("True") + said[1].count("True") == 40
    assert path.read_bytes().count(b"\n") == 40


@pytest.mark.skipif(os.name != "posix", reason="limits as on POSIX")
def test_a_disk_that_is_full_half_way_leaves_the_file_as_it_was(root, path):
    for k in range(2):
        append_vote(path, vote_on(k))
    before = path.read_bytes()
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), int(sys.argv[5])))
""" + APPENDING.format(tests=str(root / "tests" / "alignment"))
    arguments = [str(path), "Mei", "2", "3", str(len(before) + 50)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input="\n",
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert done.returncode and "only 50 of" in done.stderr and done.stdout == "ready\n"
    assert path.read_bytes() == before


def test_a_disk_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    append_vote(path, vote_on(0))
    before, fsync = path.read_bytes(), os.fsync

    def fail(file):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        append_vote(path, vote_on(1))
    assert path.read_bytes() == before
    monkeypatch.setattr(os, "fsync", fsync)
    assert append_vote(path, vote_on(1))  # so that trying again does save it


def test_a_lock_that_somebody_holds(path, monkeypatch):
    monkeypatch.setattr(votes_module, "SECONDS_TO_WAIT", 0.05)
    with (
        votes_module.FileLock(f"{path}.lock"),
        pytest.raises(OSError, match=r"another program has held .*votes.jsonl.lock"),
    ):
        append_vote(path, vote_on(0))
    assert not path.exists()


# ---------------------------------------------------------------------------------- damaged files


def line_of(vote: Vote, **changes) -> str:
    return json.dumps({**vote.record(), **changes})


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"vote": ', "no JSON"),
        ("\x00\x00", "no JSON"),
        ("[1]", "is no JSON object"),
        ('{"a": 1}', "is no vote: no .'vote', 'pair'"),
        (line_of(vote_on(1), choice="c"), "choice='c'"),
        (line_of(vote_on(1), messages="x"), "no list of messages"),
        (line_of(vote_on(1), messages=[]), "no messages"),
        (line_of(vote_on(1, vote_id="v0")), "'v0' belongs to another vote above"),
        ('{"undo": "v9"}', "takes back 'v9', and no line above"),
        ('{"undo": ["v0"]}', "takes back .'v0'."),
    ],
)
def test_damage_elsewhere_is_an_error_that_names_the_line(path, bad, words):
    lines = [line_of(vote_on(0, vote_id="v0")), "", bad, line_of(vote_on(2))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(VoteError, match=f"votes.jsonl, line 3: .*{words}"):
        read_votes(path)
    before = path.read_bytes()
    for change in (
        lambda: append_vote(path, vote_on(3)),
        lambda: undo_vote(path, "v0", "Mei"),
        lambda: Judging(some_pairs(3), path, "Mei"),
    ):
        with pytest.raises(VoteError, match="line 3"):
            change()
    assert path.read_bytes() == before


@pytest.mark.parametrize("bad", [b"nonsense", b'{"prompt": "x', b"vote", b"\xef\xbb\xbf{"])
def test_a_last_line_that_is_not_ours_is_no_crash(path, bad):
    """As where --votes names another file by mistake: it is not written to."""
    for content in (bad, line_of(vote_on(0)).encode() + b"\n" + bad):
        path.write_bytes(content)
        with pytest.raises(VoteError, match="not what a crash leaves behind"):
            append_vote(path, vote_on(1))
        assert path.read_bytes() == content


@pytest.mark.parametrize("tail", [b"\0" * 9, b'{"vote": "abc\0\0', b'{"undo": "x', b"{\n"])
def test_other_ways_in_which_a_crash_cuts_a_line(path, tail):
    path.write_bytes(line_of(vote_on(0)).encode() + b"\n" + tail)
    append_vote(path, vote_on(1))
    with pytest.warns(UserWarning, match="on line 2"):
        assert [vote.pair_id for vote in read_votes(path)] == ["pair 0", "pair 1"]


def test_files_that_were_put_together(path, tmp_path):
    vote = vote_on(0)
    path.write_text("\n".join([line_of(vote), line_of(vote), line_of(vote_on(1))]) + "\r\n")
    assert len(read_votes(path)) == 2  # the same line twice is one vote


def test_files_without_votes(path):
    with pytest.raises(FileNotFoundError):
        read_votes(path)
    path.touch()
    assert read_votes(path) == []


# ------------------------------------------------------------------------------------------- pairs


def test_pairs_in_files(tmp_path):
    path = tmp_path / "pairs.jsonl"
    pairs = [*some_pairs(3), Pair((("system", "Be kind."), ("user", NASTY)), "", NASTY)]
    save_pairs(path, pairs)
    assert load_pairs(path) == pairs
    records = [
        {"id": 7, "prompt": "Hi", "a": "x", "b": "y"},
        {"messages": [{"role": "user", "content": "Hi"}], "a": "x", "b": "y"},
    ]
    path.write_text(json.dumps(records))
    first, second = load_pairs(path)
    assert first == Pair((("user", "Hi"),), "x", "y", "7")
    assert second == Pair((("user", "Hi"),), "x", "y") and len(second.pair_id) == 12


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no pair"),
        ("{", "line 1: Expecting"),
        ("3", "line 1: '3' is no JSON object"),
        ('{"prompt": "x", "a": "y"}', "line 1: .* lacks .'b'."),
        ('{"prompt": "x", "a": "y", "b": "y"}', "line 1: a and b are both 'y'"),
        ('{"prompt": "x", "a": "y", "b": 3}', "line 1: b=3 is no text"),
        ('{"a": "y", "b": "z"}', "line 1: .*no messages"),
        ('{"prompt": 5, "a": "y", "b": "z"}', "line 1: 'prompt' is 5"),
        ('{"messages": [{"role": 1}], "a": "y", "b": "z"}', "line 1: message 0"),
        ('{"prompt": "x", "a": "y", "b": "z", "id": [1]}', "line 1: pair_id=.1. is no text"),
        ('{"prompt": "x", "a": "y", "b": "z"}\n' * 2, "line 2: the pair .* stands on line 1"),
    ],
)
def test_files_of_pairs_with_mistakes(tmp_path, text, words):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(PairError, match=f"pairs.jsonl.*{words}"):
        load_pairs(path)


def test_sides_are_drawn_by_labeller_and_pair_and_stay():
    pairs = some_pairs(400)
    left = {name: [pair.left_for(name) for pair in pairs] for name in ("Mei", "Omar")}
    assert left["Mei"] == [pair.left_for("Mei") for pair in some_pairs(400)]
    for name, sides in left.items():
        assert 160 < sides.count("a") < 240, name  # 4 standard deviations of a fair coin
    agreeing = sum(a == b for a, b in zip(left["Mei"], left["Omar"], strict=True))
    assert 160 < agreeing < 240


# ----------------------------------------------------------------------------------------- judging


def test_judging_goes_on_after_what_this_labeller_has_judged(path):
    pairs = some_pairs(3)
    judging = Judging(pairs, path, "Mei")
    for k, side in enumerate(("left", "right")):
        now = judging.standing()
        assert (now.n_judged, now.n_pairs, now.pair) == (k, 3, pairs[k])
        shown = {"left": now.left, "right": now.right}
        assert judging.vote(now.pair.pair_id, side, f"v{k}")
        (preference,) = preferences_of(read_votes(path)[-1:]).preferences
        assert preference.chosen == shown[side]
        assert read_votes(path)[-1].left == pairs[k].left_for("Mei")
    again = Judging(pairs, path, "Mei").standing()
    assert (again.n_judged, again.pair, again.last_vote) == (2, pairs[2], "v1")
    assert Judging(pairs, path, "Omar").standing().pair == pairs[0]
    other_pairs = [Pair((("user", "Other?"),), "x", "y", "other"), pairs[2]]
    assert Judging(other_pairs, path, "Mei").standing().n_judged == 0
    judging.undo("v1")
    assert judging.standing().pair == pairs[1]
    for k in (1, 2):
        judging.vote(f"pair {k}", "tie", f"w{k}")
    assert judging.standing().pair is None and judging.standing().n_judged == 3


def test_judging_refuses(path, tmp_path):
    pairs = some_pairs(2)
    judging = Judging(pairs, path, "Mei")
    for arguments, words in (
        (("pair 0", "up", "v"), "side='up' is not one of"),
        (("pair 9", "left", "v"), "pair_id='pair 9' is none of"),
        ((["pair 0"], "left", "v"), "is none of the pairs"),
        (("pair 0", "left", None), "vote_id=None must be a text"),
    ):
        with pytest.raises(VoteError, match=words):
            judging.vote(*arguments)
    assert not path.exists()
    judging.vote("pair 0", "left", "v")
    changed = Pair(pairs[0].messages, "Another answer.", pairs[0].b, "pair 0")
    with pytest.raises(PairError, match="'pair 0' has other texts than when 'Mei' judged"):
        Judging([changed], path, "Mei")
    for arguments, error, words in (
        (([], path, "Mei"), PairError, "0 pairs"),
        (([pairs[0], pairs[0]], path, "Mei"), PairError, "2 pairs with 1 ids"),
        ((pairs, path, " "), VoteError, "labeller=' ' is no name"),
        ((pairs, tmp_path / "none" / "votes", "Mei"), FileNotFoundError, "none is no folder"),
    ):
        with pytest.raises(error, match=words):
            Judging(*arguments)
