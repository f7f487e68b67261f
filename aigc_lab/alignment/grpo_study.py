"""GRPO on three tasks that a rule checks, and with three ways to divide; three seeds each.

    python -m aigc_lab.alignment.grpo_study    # an hour, one core; --resume goes on

`aigc_lab/weights/grpo_study/results.json` holds what was measured; chapter 15 shows it.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from aigc_lab.alignment.grpo import GRPOSettings, grpo_step
from aigc_lab.alignment.making import lora_optimizer, with_lora
from aigc_lab.alignment.rollout import Samples, checked_scores
from aigc_lab.alignment.verifiable import (
    EARLY_QUESTIONS,
    SHORT_SUMS,
    STORIES,
    STORIES_OF_ANY_LENGTH,
    Checked,
    does_task,
    try_task,
)
from aigc_lab.data.tiny_world import WorldSettings
from aigc_lab.data.tiny_world.conversations import Conversations
from aigc_lab.data.tiny_world.tasks import DECLINES, Unknowable
from aigc_lab.data.tokenizer import Tokenizer
from aigc_lab.evaluation.chat_probes import chat_scores, prompts_of
from aigc_lab.evaluation.pass_at_k import mean_pass_at_k
from aigc_lab.models.gpt import GPT
from aigc_lab.models.lora import merged_lora
from aigc_lab.models.shipped import FOLDER, load_shipped
from aigc_lab.training.recorded import reader_of, record_command, record_runs

RESULTS = FOLDER / "grpo_study" / "results.json"
COMMAND = "python -m aigc_lab.alignment.grpo_study"
TASKS = {
    "sums": SHORT_SUMS,
    "stories": STORIES,
    "questions": EARLY_QUESTIONS,
    "any length": STORIES_OF_ANY_LENGTH,
}
# The last task is done in three ways: what groups and replies are divided by.
WAYS = {
    "GRPO": GRPOSettings(only_informative=True),
    "Dr. GRPO": GRPOSettings(only_informative=True, scale="none", mean="fixed"),
    "DAPO": GRPOSettings(only_informative=True, mean="tokens", clip_high=0.28),
}
KEPT = ("reward", "entropy", "length", "no_difference", "gradient_norm", "clip_fraction")


@dataclass(frozen=True)
class GRPOStudy:
    """The study.

    Args:
        n_steps, n_prompts: of a run on sums.
        n_steps_others: of a run on another task than sums.
        lr, n_warmup: it rises in so many steps and then falls to 0 in a straight line.
        rank, alpha: of the LoRA paths.
        n_test, n_tries: held-out prompts, and replies to each.
        n_talks: held-out conversations, whose unanswerable questions should be declined.
        seeds: of the prompts, the sampling and the paths.
    """

    n_steps: int = 120
    n_prompts: int = 16
    n_steps_others: int = 60
    lr: float = 3e-3
    n_warmup: int = 5
    rank: int = 8
    alpha: float = 16.0
    n_test: int = 128
    n_tries: int = 16
    n_talks: int = 120
    seeds: tuple[int, ...] = (0, 1, 2)


def run(
    study: GRPOStudy, path: Path, resume: bool = False, show_progress: bool = True
) -> dict[str, Any]:
    """Make all runs that are not in the file yet.

    Returns:
        "settings", and "runs": "TASK/before" → what `judge_tries` says of the chat model, and
        "TASK/WAY/SEED" → what `train_on` returns.
    """
    model, tokenizer = load_shipped("chat")
    cells = []
    for name, task in TASKS.items():
        cells += [(f"{name}/before", partial(judge_tries, study, task, model, tokenizer))]
        mine = study if name == "sums" else replace(study, n_steps=study.n_steps_others)
        cells += [
            (f"{name}/{way}/{seed}", partial(train_on, mine, task, WAYS[way], seed))
            for way in (WAYS if name == "any length" else ("GRPO",))
            for seed in study.seeds
        ]
    return record_runs(path, asdict(study), cells, resume, show_progress)


def judge_tries(
    study: GRPOStudy, task: Checked, policy: GPT, tokenizer: Tokenizer
) -> dict[str, Any]:
    """How well a policy does a task, on prompts that nobody was trained on.

    Returns:
        "pass": pass@k for k = 1 to `n_tries`; "greedy": share of right replies of the likeliest
        tokens; "length" of the samples in tokens, and "length_right" and "length_wrong"; "counts":
        for each number of right replies, 0 to `n_tries`, the share of prompts that have so many. Of
        `EARLY_QUESTIONS` also "declined", as of `share_declined`, and of the likeliest answers
        "kinds", for each kind of question how many are right and of how many, and "says", the
        shares of those that decline and of those that say yes.
    """
    prompts, chance = task.prompts(study.n_test, 0, True), torch.Generator().manual_seed(1)
    samples = try_task(task, policy, tokenizer, prompts, study.n_tries, generator=chance)
    right = task.reward(samples).bool()
    by_prompt = right.view(-1, study.n_tries)
    # So cold that the likeliest token is drawn, but for ties.
    greedy = try_task(task, policy, tokenizer, prompts, 1, temperature=1e-4, generator=chance)
    counts = torch.bincount(by_prompt.sum(1), minlength=study.n_tries + 1) / study.n_test
    lengths = samples.batch.reply_mask.sum(1).float()
    found = {
        "pass": [round(mean_pass_at_k(by_prompt, k), 4) for k in range(1, study.n_tries + 1)],
        "greedy": task.reward(greedy).mean().item(),
        "length": lengths.mean().item(),
        "length_right": lengths[right].mean().item() if right.any() else None,
        "length_wrong": lengths[~right].mean().item() if not right.all() else None,
        "counts": counts.tolist(),
    }
    if task is EARLY_QUESTIONS:
        found |= _of_questions(greedy) | {"declined": share_declined(study, policy, tokenizer)}
    return found


def _of_questions(samples: Samples) -> dict[str, Any]:
    """What `judge_tries` says of kinds of questions and of kinds of answers."""
    kinds: dict[str, list[int]] = {}
    for prompt, is_right in zip(samples.prompts, does_task(samples).tolist(), strict=True):
        counts = kinds.setdefault(prompt.task.question.kind, [0, 0])
        counts[0] += int(is_right)
        counts[1] += 1
    texts = [text.strip() for text in samples.texts]
    declines, yes = (text in DECLINES for text in texts), (t.startswith("Yes") for t in texts)
    says = {"declines": sum(declines) / len(texts), "yes": sum(yes) / len(texts)}
    return {"kinds": kinds, "says": says}


def share_declined(study: GRPOStudy, policy: GPT, tokenizer: Tokenizer) -> float:
    """Share of the questions that nobody could answer to which the likeliest reply says so."""
    talks = Conversations(WorldSettings(seed=1)).conversations(study.n_talks)
    asked = [prompt for prompt in prompts_of(talks) if isinstance(prompt.task, Unknowable)]
    with merged_lora(policy):
        return chat_scores(policy, tokenizer, asked)["right"]["unknowable"]


def grpo_steps(
    study: GRPOStudy,
    task: Checked,
    policy: GPT,
    tokenizer: Tokenizer,
    settings: GRPOSettings,
    seed: int,
) -> list[dict[str, float]]:
    """Train a policy with LoRA paths on a task; returns what `grpo_step` says of each step."""
    optimizer = lora_optimizer(policy, study.lr)
    log = []
    for number in range(study.n_steps):
        chance = torch.Generator().manual_seed(seed * 1_000_003 + number)
        prompts = task.prompts(study.n_prompts, seed * 1_000_003 + number, False)
        samples = try_task(task, policy, tokenizer, prompts, settings.group_size, generator=chance)
        rise, left = (number + 1) / study.n_warmup, 1 - number / study.n_steps
        optimizer.param_groups[0]["lr"] = study.lr * min(1, rise) * left
        rewards = checked_scores(task.reward, samples, step=number)
        log.append(grpo_step(policy, None, optimizer, samples, rewards, settings, chance))
    return log


def train_on(study: GRPOStudy, task: Checked, settings: GRPOSettings, seed: int) -> dict[str, Any]:
    """Train the chat model on a task.

    Returns:
        A list for each of `KEPT`, one number a step, and what `judge_tries` says afterwards.
    """
    model, tokenizer = load_shipped("chat")
    torch.manual_seed(seed)
    policy = with_lora(model, study.rank, study.alpha).eval()
    log = grpo_steps(study, task, policy, tokenizer, settings, seed)
    kept = {name: [round(line[name], 4) for line in log] for name in KEPT}
    return kept | judge_tries(study, task, policy, tokenizer)


load_results = reader_of(RESULTS, COMMAND)
main = record_command(run, GRPOStudy, RESULTS)


if __name__ == "__main__":
    main(prog_name=COMMAND)
