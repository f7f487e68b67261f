"""Best of n by reward models of few and of many comparisons, judged by the gold reward.

    python -m aigc_lab.alignment.best_of_n_study        # six minutes, one core

The chat model writes a large pool of stories for each of some requests. Reward models that learned
from 300 and from 1,000 comparisons choose the best of n from it. What they choose is worth, by
themselves and by the gold reward, lies in `aigc_lab/weights/best_of_n/results.json`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from tqdm import tqdm

from aigc_lab.alignment.best_of_n import best_of_n_kl, best_of_n_mean, level_shares
from aigc_lab.alignment.labellers import Labeller, label, sample_pairs
from aigc_lab.alignment.reward import (
    RewardSettings,
    expected_accuracy,
    score_replies,
    train_reward_model,
)
from aigc_lab.alignment.rollout import sample_replies
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import StoryPrompt, Taste, story_prompts
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.gpt import GPT
from aigc_lab.models.reward_model import RewardModel
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.recorded import reader_of, write_results

RESULTS = FOLDER / "best_of_n" / "results.json"
COMMAND = "python -m aigc_lab.alignment.best_of_n_study"


@dataclass(frozen=True)
class BestOfN:
    """What is measured.

    Args:
        n_prompts, n_replies: requests, and stories for each.
        ns: numbers of replies to choose from; powers of 2.
        n_pairs: comparisons that reward models learn from.
        n_passes: over the comparisons, for each of `n_pairs`.
        seeds: of the reward models, each with comparisons of its own.
        n_test: comparisons on which reward models are tested.
    """

    n_prompts: int = 8
    n_replies: int = 1024
    ns: tuple[int, ...] = tuple(2**i for i in range(10))
    n_pairs: tuple[int, ...] = (300, 1000)
    n_passes: tuple[int, ...] = (4, 3)
    seeds: tuple[int, ...] = (0, 1, 2)
    n_test: int = 500


@dataclass(frozen=True)
class Pool:
    """Stories of the chat model.

    Attributes:
        prompts: P requests.
        texts: for each of them N stories.
        gold: their worth, `(P, N)`.
    """

    prompts: Sequence[StoryPrompt]
    texts: list[list[str]]
    gold: np.ndarray


def make_pool(model: GPT, tokenizer: Tokenizer, study: BestOfN, show: bool = True) -> Pool:
    """Let the model write."""
    prompts = story_prompts(WorldSettings(seed=1), study.n_prompts, start=50_000)
    taste, texts = Taste(), []
    for number, prompt in enumerate(tqdm(prompts, desc="stories", disable=not show)):
        chance = torch.Generator().manual_seed(number)
        written: list[str] = []
        while len(written) < study.n_replies:
            n_more = min(256, study.n_replies - len(written))
            written += sample_replies(model, tokenizer, [prompt] * n_more, generator=chance).texts
        texts.append(written)
    gold = [
        [taste.utility(prompt.request, text) for text in some]
        for prompt, some in zip(prompts, texts, strict=True)
    ]
    return Pool(prompts, texts, np.array(gold))


def scores_of_pool(reward: RewardModel, tokenizer: Tokenizer, pool: Pool) -> np.ndarray:
    """Scores `(P, N)`, with mean 0 for each request and deviation 1 over all of them."""
    scores = np.array(
        [
            score_replies(reward, tokenizer, [prompt.messages] * len(some), some).tolist()
            for prompt, some in zip(pool.prompts, pool.texts, strict=True)
        ]
    )
    return within(scores)


def within(values: np.ndarray) -> np.ndarray:
    """Less each request's mean, and in units of the deviation that is left."""
    centred = values - values.mean(1, keepdims=True)
    return centred / centred.std()


def chosen_by(proxy: np.ndarray, gold: np.ndarray, ns: Sequence[int]) -> dict[str, list[float]]:
    """For each n the mean over requests of "proxy" and "gold" of the best, and the exact "kl"."""
    rows = list(zip(proxy, gold, strict=True))
    measures: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
        "proxy": lambda p, g, n: best_of_n_mean(p, p, n),
        "gold": best_of_n_mean,
        "kl": lambda p, g, n: best_of_n_kl(level_shares(p), n),
    }
    return {
        name: [round(float(np.mean([measure(p, g, n) for p, g in rows])), 4) for n in ns]
        for name, measure in measures.items()
    }


def run(study: BestOfN, show_progress: bool = True) -> dict[str, Any]:
    """Write the stories, train the reward models and let them choose.

    Returns:
        "settings"; of the "pool" the number of "different" stories to a request and the "gold_sd"
        within a request; "gold": what the gold reward itself chooses; "runs": for each number of
        comparisons what each seed's model chooses, with its "right" share of held-out votes; and
        "ensembles": what the mean and the least of the seeds' scores choose. Gold is in units of
        its deviation within a request, above the mean.
    """
    model, tokenizer = load_shipped("chat")
    pool = make_pool(model, tokenizer, study, show_progress)
    gold = within(pool.gold)
    test_pairs = sample_pairs(model, tokenizer, story_prompts(WorldSettings(seed=1), study.n_test))
    runs: dict[str, list[dict[str, Any]]] = {}
    ensembles: dict[str, dict[str, dict[str, list[float]]]] = {}
    for n_pairs, n_passes in zip(study.n_pairs, study.n_passes, strict=True):
        scores, found = [], []
        for seed in tqdm(study.seeds, desc=f"{n_pairs} pairs", disable=not show_progress):
            prompts = story_prompts(WorldSettings(), n_pairs, start=seed * 10_000)
            pairs = sample_pairs(model, tokenizer, prompts, seed)
            told, votes = RewardSettings(n_epochs=n_passes), label(pairs, Labeller(seed=seed))
            reward = train_reward_model(model, tokenizer, votes, told, seed)
            scores.append(scores_of_pool(reward, tokenizer, pool))
            right = expected_accuracy(reward, tokenizer, test_pairs, Labeller())
            found.append({"right": round(right, 4), **chosen_by(scores[-1], gold, study.ns)})
        runs[str(n_pairs)] = found
        together = {"mean": np.mean(scores, axis=0), "least": np.min(scores, axis=0)}
        ensembles[str(n_pairs)] = {
            name: chosen_by(within(some), gold, study.ns) for name, some in together.items()
        }
    different = np.mean([len(set(some)) for some in pool.texts])
    deviation = (pool.gold - pool.gold.mean(1, keepdims=True)).std()
    return {
        "settings": dataclasses.asdict(study),
        "pool": {"different": float(different), "gold_sd": round(float(deviation), 4)},
        "gold": chosen_by(gold, gold, study.ns),
        "runs": runs,
        "ensembles": ensembles,
    }


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
def main(results: Path) -> None:
    """Run the study and write its results."""
    torch.set_num_threads(1)
    write_results(results, run(BestOfN()))


if __name__ == "__main__":
    main(prog_name=COMMAND)
