"""Judging pairs one after another, for the page and the notebook form."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aigc_lab.alignment.feedback.pairs import Pair, PairError
from aigc_lab.alignment.feedback.vote import Vote, VoteError
from aigc_lab.alignment.feedback.votes import append_vote, read_votes, undo_vote

SIDES = ("left", "right", "tie", "skip")


@dataclass(frozen=True)
class Standing:
    """How far a labeller is.

    Args:
        n_judged, n_pairs: how many pairs are judged, and how many there are.
        pair: the next to judge; None at the end.
        left, right: its answers in the order in which this labeller sees them.
        last_vote: the id of the vote that an undo takes back; "" if there is none.
    """

    n_judged: int
    n_pairs: int
    pair: Pair | None
    left: str
    right: str
    last_vote: str


class Judging:
    """One labeller's way through the pairs; everything it knows is in the file of votes.

    Args:
        pairs: to judge, in this order; those that the labeller has judged before are passed over.
        votes_path: the file of votes, which is made with the first one.
        labeller: who judges.

    Raises:
        PairError: no pairs, or one that this labeller judged under the same id with other texts.
        VoteError: no name, or a damaged file of votes.
        OSError: the file cannot be read, or its folder is not there.
    """

    def __init__(self, pairs: Sequence[Pair], votes_path: str | Path, labeller: str):
        self.pairs = {pair.pair_id: pair for pair in pairs}
        self.votes_path, self.labeller = Path(votes_path), labeller
        if not pairs or len(self.pairs) < len(pairs):
            raise PairError(f"{len(pairs)} pairs with {len(self.pairs)} ids: give each its own")
        if not labeller.strip():
            raise VoteError(f"labeller={labeller!r} is no name: say who judges")
        if not self.votes_path.parent.is_dir():
            raise FileNotFoundError(
                f"{self.votes_path.parent} is no folder: make it, or put the votes elsewhere"
            )
        for vote in self._votes():
            pair = self.pairs[vote.pair_id]
            if (pair.messages, pair.a, pair.b) != (vote.messages, vote.a, vote.b):
                raise PairError(
                    f"the pair {pair.pair_id!r} has other texts than when {labeller!r} judged it "
                    f"in {self.votes_path}: give it a new id"
                )

    def standing(self) -> Standing:
        """How far the labeller is now."""
        votes = self._votes()
        judged = {vote.pair_id for vote in votes}
        pair = next((pair for pair in self.pairs.values() if pair.pair_id not in judged), None)
        left, right = (pair.a, pair.b) if pair else ("", "")
        if pair and pair.left_for(self.labeller) == "b":
            left, right = right, left
        last = votes[-1].vote_id if votes else ""
        return Standing(len(judged), len(self.pairs), pair, left, right, last)

    def vote(self, pair_id: str, side: str, vote_id: str) -> bool:
        """Save that the answer on `side` of a pair is better ("left", "right"), "tie" or "skip".

        Returns:
            Whether it is new; the same vote sent again is not.

        Raises:
            AlreadyJudgedError: the pair is judged under another `vote_id`.
            VoteError: no such side or pair.
            OSError: it could not be saved.
        """
        if side not in SIDES:
            raise VoteError(f"side={side!r} is not one of {SIDES}")
        if not isinstance(pair_id, str) or pair_id not in self.pairs:
            raise VoteError(f"pair_id={pair_id!r} is none of the pairs that are being judged")
        pair = self.pairs[pair_id]
        left = pair.left_for(self.labeller)
        other = {"a": "b", "b": "a"}[left]
        choice = {"left": left, "right": other}.get(side, side)
        vote = Vote(
            pair_id,
            pair.messages,
            pair.a,
            pair.b,
            choice,
            self.labeller,
            left,
            vote_id=vote_id,
        )
        return append_vote(self.votes_path, vote)

    def undo(self, vote_id: str) -> bool:
        """Take a vote back; the pair comes again. Raises as `undo_vote` does."""
        return undo_vote(self.votes_path, vote_id, self.labeller)

    def _votes(self) -> list[Vote]:
        """The labeller's votes on these pairs."""
        if not self.votes_path.exists():
            return []
        votes = read_votes(self.votes_path)
        return [v for v in votes if v.labeller == self.labeller and v.pair_id in self.pairs]
