"""Judging pairs with `input()`: in Jupyter, in Colab, and in a terminal."""

import textwrap
import uuid
from collections.abc import Sequence
from pathlib import Path

from aigc_lab.alignment.feedback.judging import Judging, Standing
from aigc_lab.alignment.feedback.pairs import Pair

KEYS = {"1": "left", "2": "right", "t": "tie", "0": "tie", "s": "skip"}
QUESTION = "Better: 1, 2, t (tie), s (skip), u (undo), q (quit)? "
WIDTH = 88


def ask(pairs: Sequence[Pair], votes_path: str | Path, labeller: str = "reader") -> int:
    """Show each pair, read a choice, and add it to the file of votes.

    Pairs that this labeller has judged before do not come again. Where nobody can answer, as when
    a notebook is run from first to last by a program, it says so and returns.

    Args:
        pairs: as of `load_pairs`.
        votes_path: the file of votes, which is made with the first one.
        labeller: who judges.

    Returns:
        How many votes were added and not taken back.

    Raises:
        PairError, VoteError, OSError: as of `Judging`; what was saved before stays saved.
    """
    judging = Judging(pairs, votes_path, labeller)
    now = judging.standing()
    n_before = now.n_judged
    while now.pair:
        print(_shown(now))
        try:
            key = input(QUESTION).strip().lower()
        except (EOFError, NotImplementedError):  # the second is Jupyter's, without anybody there
            print("\nNobody can answer here, so no vote was added: run this cell yourself.")
            break
        except KeyboardInterrupt:
            key = "q"
        if key == "q":
            break
        elif key == "u" and now.last_vote:
            judging.undo(now.last_vote)
        elif key in KEYS:
            judging.vote(now.pair.pair_id, KEYS[key], uuid.uuid4().hex)
        else:
            print(
                "There is nothing to undo.\n" if key == "u" else f"{key!r} is none of the keys.\n"
            )
        now = judging.standing()
    print(f"{now.n_judged} of {now.n_pairs} pairs are judged; the votes are in {votes_path}.")
    return now.n_judged - n_before


def _shown(now: Standing) -> str:
    parts = [f"---- {now.n_judged + 1} of {now.n_pairs}"]
    parts += [f"{role}: {text}" for role, text in now.pair.messages]
    parts += [f"[1] {now.left or '(says nothing)'}", f"[2] {now.right or '(says nothing)'}"]
    return "\n\n".join(_wrapped(part) for part in parts) + "\n"


def _wrapped(text: str) -> str:
    # A terminal obeys some characters; shown as marks they do nothing.
    clean = (
        "".join(c if c.isprintable() else "\ufffd" for c in line) for line in text.splitlines()
    )
    return "\n".join(textwrap.fill(line, WIDTH) for line in clean)
