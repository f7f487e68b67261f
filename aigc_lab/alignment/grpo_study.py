"""GRPO on sums with three seeds: pass@k before and after.

    python -m aigc_lab.alignment.grpo_study    # ten minutes, one core; --resume goes on

`aigc_lab/weights/grpo_study/results.json` holds what was measured; chapter 15 shows it.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from aigc_lab.alignment.grpo import GRPOSettings, grpo_step
from aigc_lab.alignment.making import with_lora
from aigc_lab.alignment.rollout import checked_scores, sample_replies
from aigc_lab.alignment.verifiable import (
    LONGEST_SUM,
    is_right_and_short,
    repeated,
    sum_prompts,
)
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.evaluation.pass_at_k import mean_pass_at_k
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import lora_parameters
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.optimizers import AdamW
from aigc_lab.training.recorded import reader_of, record_runs

RESULTS = FOLDER / "grpo_study" / "results.json"
COMMAND = "python -m aigc_lab.alignment.grpo_study"
KEPT = ("reward", "entropy", "length", "no_difference", "gradient_norm", "clip_fraction")


@dataclass(frozen=True)
class GRPOStudy:
    """The study.

    Args:
        n_steps, n_prompts, group_size: of a run.
        lr, n_warmup: it rises in so many steps and then falls to 0 in a straight line.
        rank, alpha: of the LoRA paths.
        n_test, n_tries: held-out sums, and answers to each.
        seeds: of the sums, the sampling and the paths.
    """

    n_steps: int = 120
    n_prompts: int = 16
    group_size: int = 8
    lr: float = 3e-3
    n_warmup: int = 5
    rank: int = 8
    alpha: float = 16.0
    n_test: int = 128
    n_tries: int = 16
    seeds: tuple[int, ...] = (0, 1, 2)

    def grpo(self) -> GRPOSettings:
        """How to optimise: as the shipped model's recipe."""
        return GRPOSettings(group_size=self.group_size, only_informative=True)


def run(
    study: GRPOStudy, path: Path, resume: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Make all runs that are not in the file yet.

    Returns:
        "settings", and "runs": "before" → what `judge_sums` says of the chat model, and "GRPO/SEED"
        → the same after training, with a list for each of `KEPT`, one number a step.
    """
    model, tokenizer = load_shipped("chat")
    cells = [("before", partial(judge_sums, study, model, tokenizer))]
    cells += [(f"GRPO/{seed}", partial(_train, study, seed)) for seed in study.seeds]
    return record_runs(path, dataclasses.asdict(study), cells, resume, show_progress)


def judge_sums(study: GRPOStudy, policy: GPT, tokenizer: Tokenizer) -> dict[str, Any]:
    """How well a policy adds, on sums that nobody was trained on.

    Returns:
        "pass": pass@k for k = 1 to `n_tries`; "greedy": share of right answers of the likeliest
        tokens; "length" of the samples in tokens; "by_sum": for each number of right answers, 0 to
        `n_tries`, the share of sums that have so many.
    """
    prompts = sum_prompts(study.n_test, seed=0, held_out=True)
    tries = repeated(prompts, study.n_tries)
    chance = torch.Generator().manual_seed(1)
    sampling = {"max_new_tokens": LONGEST_SUM, "generator": chance}
    samples = sample_replies(policy, tokenizer, tries, **sampling)
    right = is_right_and_short(samples).view(study.n_test, study.n_tries).bool()
    # So cold that only the likeliest token is ever drawn.
    greedy = sample_replies(policy, tokenizer, prompts, temperature=1e-4, **sampling)
    counts = torch.bincount(right.sum(1), minlength=study.n_tries + 1) / study.n_test
    return {
        "pass": [round(mean_pass_at_k(right, k), 4) for k in range(1, study.n_tries + 1)],
        "greedy": is_right_and_short(greedy).mean().item(),
        "length": samples.batch.reply_mask.sum(1).float().mean().item(),
        "by_sum": counts.tolist(),
    }


def grpo_steps(
    study: GRPOStudy,
    policy: GPT,
    tokenizer: Tokenizer,
    seed: int,
) -> list[dict[str, float]]:
    """Train a policy with LoRA paths on sums; returns what `grpo_step` says of each step."""
    settings = study.grpo()
    optimizer = AdamW(list(lora_parameters(policy).values()), lr=study.lr, weight_decay=0.0)
    log = []
    for number in range(study.n_steps):
        chance = torch.Generator().manual_seed(seed * 1_000_003 + number)
        prompts = sum_prompts(study.n_prompts, seed=seed * 1_000_003 + number)
        rows = repeated(prompts, settings.group_size)
        samples = sample_replies(
            policy, tokenizer, rows, max_new_tokens=LONGEST_SUM, generator=chance
        )
        rise, left = (number + 1) / study.n_warmup, 1 - number / study.n_steps
        optimizer.param_groups[0]["lr"] = study.lr * min(1, rise) * left
        rewards = checked_scores(is_right_and_short, samples, step=number)
        log.append(grpo_step(policy, None, optimizer, samples, rewards, settings, chance))
    return log


def _train(study: GRPOStudy, seed: int) -> dict[str, Any]:
    model, tokenizer = load_shipped("chat")
    torch.manual_seed(seed)
    policy = with_lora(model, study.rank, study.alpha).eval()
    log = grpo_steps(study, policy, tokenizer, seed)
    kept = {name: [round(line[name], 4) for line in log] for name in KEPT}
    return kept | judge_sums(study, policy, tokenizer)


load_results = reader_of(RESULTS, COMMAND)


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS)
@click.option("--resume", is_flag=True, help="Keep the runs that are in the file.")
def main(results: Path, resume: bool) -> None:
    """Make the runs and write what was measured."""
    torch.set_num_threads(1)
    run(GRPOStudy(), results, resume)


if __name__ == "__main__":
    main(prog_name=COMMAND)
