"""How good a reward model becomes: from how many votes, whose votes, and how many models.

    python -m aigc_lab.alignment.reward_study    # twenty minutes, one core; --resume goes on

All begin with the chat model and are tested on fresh pairs of its replies. Requests recur, since
there are few of them.
`aigc_lab/weights/reward_study/results.json` holds what was measured; chapter 13 shows it.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aigc_lab.alignment.ensembles import (
    NEAR,
    common_scale,
    disagreement,
    scaled_scores,
    strange_replies,
)
from aigc_lab.alignment.labellers import (
    Labeller,
    Pair,
    bayes_ceiling,
    chances,
    label,
    sample_pairs,
    share_foreseen,
)
from aigc_lab.alignment.reward import RewardSettings, score_replies, train_reward_model
from aigc_lab.alignment.score_weights import (
    counted_words,
    longer_wins,
    trait_table,
    weights_of,
)
from aigc_lab.data.preferences import Preference
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import Taste, story_prompts
from aigc_lab.models.reward_model import RewardModel
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.recorded import reader_of, record_command, record_runs

RESULTS = FOLDER / "reward_study" / "results.json"
COMMAND = "python -m aigc_lab.alignment.reward_study"


@dataclass(frozen=True)
class RewardStudy:
    """The study.

    Args:
        sizes: numbers of votes; which pairs they are about is drawn by the seed.
        ways_size: votes of the models that learn from other labellers.
        ensemble_size: votes of the members of the ensemble, one for each seed.
        flips: shares of votes that are turned round.
        seeds: of the votes, the order and the new head.
        batch_size, rate: of training.
        least_steps: one pass over the votes, but at least so many updates.
        n_test: pairs to test on.
        n_apart: replies of each kind on which the members of the ensemble are compared.
        world: of the requests; those of the next seed are for the test.
    """

    sizes: tuple[int, ...] = (100, 300, 1000, 3000, 8000)
    ways_size: int = 1000
    ensemble_size: int = 3000
    flips: tuple[float, ...] = (0.1, 0.25)
    seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = 32
    rate: float = 1e-3
    least_steps: int = 30
    n_test: int = 800
    n_apart: int = 200
    world: WorldSettings = dataclasses.field(default_factory=WorldSettings)

    def ways(self) -> dict[str, Labeller]:
        """Other labellers: careless ones, one who likes words, one for whom mistakes count."""
        careless = {f"flips {share}": Labeller(flips=share) for share in self.flips}
        wordy, strict = Taste(word=0.1), Taste(error=-1.5, unmet=-1.5)
        return careless | {"likes words": Labeller(wordy), "strict": Labeller(strict)}

    def training(self, n_votes: int) -> RewardSettings:
        """How a model learns from so many votes."""
        n_epochs = max(1.0, self.least_steps * self.batch_size / n_votes)
        return RewardSettings(n_epochs, self.batch_size, self.rate, self.rate)


class _Material:
    """The pairs and the chat model; made when they are needed first."""

    def __init__(self, study: RewardStudy):
        self.study = study
        self.chat, self.tokenizer = load_shipped("chat")

    def pairs(self, n: int, seed: int) -> list[Pair]:
        prompts = story_prompts(self.study.world.replace(seed=seed), n)
        return sample_pairs(self.chat, self.tokenizer, prompts, seed)

    @cached_property
    def train(self) -> list[Pair]:
        most = max(*self.study.sizes, self.study.ways_size, self.study.ensemble_size)
        # A few requests get the same reply twice and make no pair.
        return self.pairs(most + most // 50 + 8, self.study.world.seed)[:most]

    @cached_property
    def test(self) -> list[Pair]:
        return self.pairs(self.study.n_test, self.study.world.seed + 1)

    def votes(self, labeller: Labeller, n: int, seed: int) -> list[Preference]:
        order = random.Random(f"study {seed}").sample(range(len(self.train)), n)
        own = dataclasses.replace(labeller, seed=seed)
        return label([self.train[i] for i in order], own)


def run(
    study: RewardStudy, path: Path, resume: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Make all runs that are not in the file yet.

    Returns:
        "settings", and "runs": "ceilings" → for each labeller; "longer wins", "size N/SEED",
        "words N/SEED" (counted words), "WAY/SEED" → scores as of `_measured`; "ensemble".
    """
    material, models = _Material(study), {}

    def learn(name: str, labeller: Labeller, n: int, seed: int) -> Callable[[], dict[str, Any]]:
        def make() -> dict[str, Any]:
            votes = material.votes(labeller, n, seed)
            model = train_reward_model(
                material.chat, material.tokenizer, votes, study.training(n), seed
            )
            models[name] = model
            return _measured(material, labeller, model)

        return make

    def count_words(n: int, seed: int) -> dict[str, float]:
        votes = material.votes(Labeller(), n, seed)
        differences = counted_words(votes, material.test)
        return {"accuracy": _rounded(share_foreseen(differences, _reader(material)))}

    def length() -> dict[str, float]:
        foreseen = share_foreseen(longer_wins(material.test), _reader(material))
        return {"accuracy": _rounded(foreseen)}

    def ceilings() -> dict[str, float]:
        labellers = {"reader": Labeller()} | study.ways()
        return {n: _rounded(bayes_ceiling(material.test, who)) for n, who in labellers.items()}

    def ensemble() -> dict[str, Any]:
        members = []
        for seed in study.seeds:
            name = f"size {study.ensemble_size}/{seed}"
            if name not in models:  # a run that goes on has only its numbers
                learn(name, Labeller(), study.ensemble_size, seed)()
            members.append(models.pop(name))
        return _compare_members(material, members)

    cells = [("ceilings", ceilings), ("longer wins", length)]
    for seed in study.seeds:
        for n in study.sizes:
            name = f"size {n}/{seed}"
            cells += [(name, learn(name, Labeller(), n, seed))]
            cells += [(f"words {n}/{seed}", lambda n=n, seed=seed: count_words(n, seed))]
        for way, labeller in study.ways().items():
            name = f"{way}/{seed}"
            cells += [(name, learn(name, labeller, study.ways_size, seed))]
    cells += [("ensemble", ensemble)]
    return record_runs(path, dataclasses.asdict(study), cells, resume, show_progress)


# --------------------------------------------------------------------------------- what is measured


def _measured(material: _Material, labeller: Labeller, model: RewardModel) -> dict[str, Any]:
    """Share of the reader's votes and of the labeller's own that are foreseen, share of pairs of
    different worth that are put in order, and what the score gives for each trait."""
    conversations = [p.prompt.messages for p in material.test for _ in range(2)]
    texts = [text for p in material.test for text in (p.first, p.second)]
    scores = score_replies(model, material.tokenizer, conversations, texts).numpy()
    differences = scores[::2] - scores[1::2]
    reader, own = _reader(material), chances(material.test, labeller)
    weights = weights_of(scores, trait_table(material.test))
    return {
        "accuracy": _rounded(share_foreseen(differences, reader)),
        "own": _rounded(share_foreseen(differences, own)),
        "order": _rounded(np.mean(((differences > 0) == (reader > 0.5))[reader != 0.5])),
        "weights": {name: _rounded(value) for name, value in weights.items()},
    }


def _compare_members(material: _Material, members: Sequence[RewardModel]) -> dict[str, Any]:
    """Accuracy of an ensemble, and how much its members differ on replies near and far."""
    tokenizer, test = material.tokenizer, material.test
    conversations, kinds = strange_replies(material.chat, tokenizer, test[: material.study.n_apart])
    scale = common_scale(members, tokenizer, conversations, kinds[NEAR])
    apart = {
        kind: disagreement(scaled_scores(members, tokenizer, conversations, texts, scale))
        for kind, texts in kinds.items()
    }
    asked = [pair.prompt.messages for pair in test]
    first, second = (
        scaled_scores(members, tokenizer, asked, [getattr(pair, side) for pair in test], scale)
        for side in ("first", "second")
    )

    def foreseen(differences: torch.Tensor) -> float:
        return _rounded(share_foreseen(differences.numpy(), _reader(material)))

    return {
        "members": [foreseen(member) for member in first - second],
        "mean": foreseen(first.mean(0) - second.mean(0)),
        "worst": foreseen(first.amin(0) - second.amin(0)),
        "apart": {kind: _rounded(value) for kind, value in apart.items()},
    }


def _reader(material: _Material) -> np.ndarray:
    """Chances of the book's reader on the test pairs, `(N,)`."""
    return chances(material.test, Labeller())


def _rounded(value: Any) -> float:
    return round(float(value), 4)


load_results = reader_of(RESULTS, COMMAND)
main = record_command(run, RewardStudy, RESULTS)


if __name__ == "__main__":
    main(prog_name=COMMAND)
