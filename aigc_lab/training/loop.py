"""The training loop: steps, a log, evaluations, and checkpoints from which it goes on bit for bit.

What a run leaves on disk is described in `aigc_lab.training.run_folder`.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from aigc_lab.data.batches import AnyBatch, Batch, Source
from aigc_lab.data.synthetic import NO_TARGET
from aigc_lab.models.modes import evaluation_mode
from aigc_lab.training.interruptions import Stopped, advice_on_memory, watch_ctrl_c
from aigc_lab.training.optimizers import clip_gradients, warmup_then_decay
from aigc_lab.training.run_folder import (
    CHECKPOINT_FILE,
    LOG_FILE,
    Progress,
    TrainSettings,
    begin_run,
    read_log,
    resume_run,
    save_run,
    write_line,
)

Loss = Callable[[nn.Module, Any], torch.Tensor]


def loss_of_batch(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy in nats, summed over the targets of a batch: a scalar tensor."""
    logits = model(batch.tokens, documents=batch.documents)  # (B, T, V)
    return F.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET, reduction="sum"
    )


def train(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    source: Source,
    settings: TrainSettings,
    folder: str | Path,
    *,
    loss: Loss = loss_of_batch,
    evaluate: Callable[[nn.Module], float] | None = None,
    resume: bool = False,
    show_progress: bool = True,
) -> list[dict[str, Any]]:
    """Train `model`; its parameters change in place, and it is left in evaluation mode.

    Args:
        model: a GPT, or what `loss` can use, on the device on which it is to be trained.
        optimizers: with the highest learning rate that each group is to have.
        source: update k uses its batches k · accumulate and the accumulate - 1 after it.
        settings: see there.
        folder: of the run; made if it does not exist.
        loss: of the model on a batch, in nats, summed over its targets; by default that of the
            next token, `loss_of_batch`.
        evaluate: gives the loss on held-out data; it must use no chance of its own.
        resume: go on from the checkpoint in the folder, with the same other arguments.
        show_progress: whether to show a bar.

    Returns:
        The lines of the log: step, tokens (targets seen), loss (mean over the targets since the
        line before, in nats), eval_loss (or None), lr (of the first group), gradient_norm (before
        clipping) and seconds.

    Raises:
        FileExistsError: the folder has a run and `resume` is not set.
        FileNotFoundError, CheckpointError: it has none from which to resume.
        ValueError: the run in the folder has other settings, or a step has no target.
        FloatingPointError: the loss or a gradient is not finite; the last checkpoint stays.
        MemoryError: no memory is left; says what to halve.
        Stopped: Ctrl-C; the current step was finished and a checkpoint written. A second Ctrl-C
            ends the run at once.
    """
    folder = Path(folder)
    rates = highest_rates(optimizers)
    if resume:
        progress = resume_run(model, optimizers, settings, folder)
    else:
        progress = begin_run(model, optimizers, settings, folder)
    evaluate_every = settings.evaluate_every or settings.n_steps
    bar = tqdm(
        total=settings.n_steps, initial=progress.step, unit="step", disable=not show_progress
    )
    start, seconds_before, tokens_before = time.perf_counter(), progress.seconds, progress.tokens
    with bar, watch_ctrl_c() as ctrl_c, open(folder / LOG_FILE, "a", encoding="utf-8") as log:
        while progress.step < settings.n_steps:
            mean, norm = training_step(model, optimizers, rates, source, settings, progress, loss)
            is_last = progress.step == settings.n_steps
            eval_loss = None
            if evaluate is not None and (progress.step % evaluate_every == 0 or is_last):
                eval_loss = _evaluate(model, evaluate)
            seconds = time.perf_counter() - start
            progress.seconds = seconds_before + seconds
            bar.update()
            per_second = (progress.tokens - tokens_before) / seconds
            bar.set_postfix_str(f"loss {mean:.3f}, {per_second:,.0f} tokens/s", refresh=False)
            if progress.step % settings.log_every == 0 or eval_loss is not None or is_last:
                lr = optimizers[0].param_groups[0]["lr"]
                write_line(log, progress, eval_loss, lr, norm)
            save_if_due(model, optimizers, settings, folder, progress, log, ctrl_c.pressed)
    model.eval()
    return read_log(folder)


@torch.no_grad()
def mean_loss(model: nn.Module, batches: Iterable[AnyBatch], loss: Loss = loss_of_batch) -> float:
    """Cross-entropy in nats per target over several batches, without dropout.

    Raises:
        ValueError: the batches have no target.
    """
    device = next(model.parameters()).device
    total, count = 0.0, 0
    with evaluation_mode(model):
        for batch in batches:
            total += loss(model, batch.to(device)).item()
            count += batch.n_targets
    if not count:
        raise ValueError("there is no target in any batch: nothing to take the mean of")
    return total / count


def training_steps(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    source: Source,
    settings: TrainSettings,
    loss: Loss = loss_of_batch,
) -> Iterator[tuple[Progress, float]]:
    """Train without a folder, and stop after each step, so that the caller can look at the model.

    Args:
        model, optimizers, source, settings, loss: as in `train`; nothing is logged or saved.

    Yields:
        How far it has come (`seconds` without the caller's own work), and the loss before the
        step in nats per target.

    Raises:
        ValueError, FloatingPointError, MemoryError: as `train`.
    """
    rates, progress = highest_rates(optimizers), Progress()
    while progress.step < settings.n_steps:
        start = time.perf_counter()
        mean, _ = training_step(model, optimizers, rates, source, settings, progress, loss)
        progress.seconds += time.perf_counter() - start
        yield progress, mean
    model.eval()


# ------------------------------------------------------------------------------------------ a step


def highest_rates(optimizers: Sequence[torch.optim.Optimizer]) -> list[list[float]]:
    """The learning rate of each group of each optimizer, before the schedule changes it."""
    return [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]


def set_rates(
    optimizers: Sequence[torch.optim.Optimizer], rates: Sequence[Sequence[float]], factor: float
) -> None:
    """Give each group its highest learning rate (`highest_rates`) times the schedule's factor."""
    for optimizer, own_rates in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, own_rates, strict=True):
            group["lr"] = rate * factor


def save_if_due(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainSettings,
    folder: Path,
    progress: Progress,
    log: TextIO,
    is_stopping: bool,
) -> None:
    """End a step: write a checkpoint where one is due, with the lines of the log before it.

    Raises:
        Stopped: `is_stopping`, and steps are left; the checkpoint is written.
    """
    is_last, every = progress.step == settings.n_steps, settings.checkpoint_every
    if is_last or is_stopping or (every and progress.step % every == 0):
        os.fsync(log.fileno())  # no checkpoint without the lines before it
        save_run(model, optimizers, settings, folder, progress)
    if is_stopping and not is_last:
        raise Stopped(
            f"stopped after step {progress.step} of {settings.n_steps}; "
            f"{folder / CHECKPOINT_FILE} is written: resume (--resume, or resume=True) "
            "to go on as if nothing had happened"
        )


def training_step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    rates: Sequence[Sequence[float]],
    source: Source,
    settings: TrainSettings,
    progress: Progress,
    loss: Loss = loss_of_batch,
) -> tuple[float, float]:
    """Make one update and count it in `progress`.

    Returns:
        The loss before it, in nats per target, and the norm of the gradients before clipping.

    Raises:
        ValueError, FloatingPointError, MemoryError: as `train`; the parameters are unchanged.
    """
    factor = warmup_then_decay(
        progress.step, settings.n_steps, settings.n_warmup, settings.last_rate
    )
    set_rates(optimizers, rates, factor)
    device = next(model.parameters()).device
    first = progress.step * settings.accumulate
    batches = [source.batch(first + i) for i in range(settings.accumulate)]
    # All targets of the step count alike, so the sum is divided by the number of all of them;
    # the mean of the batches' means would favour targets in batches that have few.
    count = sum(batch.n_targets for batch in batches)
    if not count:
        raise ValueError(f"step {progress.step} has no target: all of its tokens are padding")
    model.train()
    model.zero_grad()
    total = 0.0
    on_gpu = settings.bfloat16 and device.type == "cuda"
    precision = torch.autocast("cuda", torch.bfloat16) if on_gpu else contextlib.nullcontext()
    with advice_on_memory(batches[0].shape):
        for batch in batches:
            with precision:
                share = loss(model, batch.to(device)) / count
            total += share.item()
            share.backward()
    if not math.isfinite(total):
        raise FloatingPointError(
            f"the loss is {total} at step {progress.step}: lower the learning rate, lengthen the "
            "warm-up, or look for a row that is masked completely; the last checkpoint is good"
        )
    norm = clip_gradients(model.parameters(), settings.clip)
    for optimizer in optimizers:
        optimizer.step()
    progress.step += 1
    progress.tokens += count
    progress.loss_sum += total * count
    progress.loss_count += count
    return total, norm


def _evaluate(model: nn.Module, evaluate: Callable[[nn.Module], float]) -> float:
    model.eval()
    with torch.no_grad():
        return float(evaluate(model))
