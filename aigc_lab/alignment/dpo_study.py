"""DPO on stories: prices of distance, and what happens to the chosen replies.

    python -m aigc_lab.alignment.dpo_study    # ten minutes, one core; --resume goes on

Three seeds for each price. While a policy trains, the log-probabilities of held-out pairs and the
gold reward of its own stories are looked at; the gold reward teaches it nothing.
`aigc_lab/weights/dpo_study/results.json` holds what was measured.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from aigc_lab.alignment.dpo import DPOSettings, dpo_loss_of, pair_numbers
from aigc_lab.alignment.judging import judge_policy, policy_scores
from aigc_lab.alignment.labellers import Labeller, label, sample_pairs
from aigc_lab.alignment.making import lora_optimizer, with_lora
from aigc_lab.alignment.pairs import PairBatch, PairSource, make_pair_batch
from aigc_lab.data.preferences import Preference
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.taste import story_prompts
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.models.gpt import GPT
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.loop import training_steps
from aigc_lab.training.recorded import reader_of, record_command, record_runs
from aigc_lab.training.run_folder import TrainSettings

RESULTS = FOLDER / "dpo_study" / "results.json"
COMMAND = "python -m aigc_lab.alignment.dpo_study"
HELD_OUT = WorldSettings(seed=1)


@dataclass(frozen=True)
class DPOStudy:
    """The study.

    Args:
        betas: prices of distance.
        n_pairs, batch_size: comparisons of a run, each seen once, and of a batch.
        lr, rank, alpha: of the training, with LoRA paths.
        n_looks: how often a run is looked at while it trains.
        n_stories, n_watched: stories and pairs for each look.
        n_judged: stories by which it is judged at the end.
        seeds: of votes, order and paths; each has prompts of its own.
    """

    betas: tuple[float, ...] = (0.03, 0.1, 0.3)
    n_pairs: int = 1600
    batch_size: int = 32
    lr: float = 3e-3
    rank: int = 8
    alpha: float = 16.0
    n_looks: int = 5
    n_stories: int = 96
    n_watched: int = 96
    n_judged: int = 256
    seeds: tuple[int, ...] = (0, 1, 2)


def run(
    study: DPOStudy, path: Path, resume: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Make all runs that are not in the file yet.

    Returns:
        "settings", and "runs": "BETA/SEED" → "looks", a list of what `pair_numbers` and "gold" were
        at a "step", from 0; and the scores of `policy_scores` at the end.
    """
    votes = cache(partial(_votes, study))
    cells = [
        (f"{beta:g}/{seed}", partial(_train, study, beta, votes, seed))
        for seed in study.seeds
        for beta in study.betas
    ]
    return record_runs(path, dataclasses.asdict(study), cells, resume, show_progress)


def _votes(study: DPOStudy, seed: int) -> list[Preference]:
    model, tokenizer = load_shipped("chat")
    prompts = story_prompts(WorldSettings(), study.n_pairs, start=200_000 + seed * study.n_pairs)
    return label(sample_pairs(model, tokenizer, prompts, seed), Labeller(seed=seed))


def _train(study: DPOStudy, beta: float, votes: Any, seed: int) -> dict[str, Any]:
    ref_model, tokenizer = load_shipped("chat")
    torch.manual_seed(seed)
    policy = with_lora(ref_model, study.rank, study.alpha)
    source = PairSource(
        tokenizer, votes(seed), ref_model.config.context_length, study.batch_size, seed
    )
    n_steps = source.batches_per_epoch
    optimizer = lora_optimizer(policy, study.lr)
    training = TrainSettings(n_steps=n_steps, n_warmup=max(1, n_steps // 20), seed=seed)
    look = partial(_look, study, policy, ref_model, tokenizer, _watched(study), beta)
    looks = [{"step": 0, **look()}]
    due = {round(n_steps * (i + 1) / study.n_looks) for i in range(study.n_looks)}
    loss = dpo_loss_of(ref_model, DPOSettings(beta=beta))
    steps = training_steps(policy, [optimizer], source, training, loss)
    for progress, _ in steps:
        if progress.step in due:
            looks.append({"step": progress.step, **look()})
    prompts = story_prompts(HELD_OUT, study.n_judged)
    ours = judge_policy(policy, ref_model, tokenizer, prompts, seed=1)
    before = judge_policy(ref_model, ref_model, tokenizer, prompts, seed=2)
    return {"looks": looks, **_rounded(policy_scores(ours, before))}


@cache
def _watched(study: DPOStudy) -> PairBatch:
    """Held-out pairs with their votes, the same for all runs."""
    model, tokenizer = load_shipped("chat")
    prompts = story_prompts(HELD_OUT, study.n_watched, start=10_000)
    votes = label(sample_pairs(model, tokenizer, prompts, seed=1), Labeller(seed=1))
    return make_pair_batch(tokenizer, votes, model.config.context_length)


def _look(
    study: DPOStudy,
    policy: GPT,
    ref_model: GPT,
    tokenizer: Tokenizer,
    watched: PairBatch,
    beta: float,
) -> dict[str, float]:
    prompts = story_prompts(HELD_OUT, study.n_stories, start=20_000)
    judged = judge_policy(policy, ref_model, tokenizer, prompts, seed=3)
    own = {"gold": judged.gold.mean().item(), "kl": judged.kl.mean().item()}
    return _rounded(pair_numbers(policy, ref_model, [watched], beta) | own)


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


load_results = reader_of(RESULTS, COMMAND)
main = record_command(run, DPOStudy, RESULTS)


if __name__ == "__main__":
    main(prog_name=COMMAND)
