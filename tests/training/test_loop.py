"""The loop: it learns what can be learned, and however a run is cut, it ends the same."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
import torch.nn.functional as F

from aigc_lab.data.batches import Batch, PackedDocuments, Windows, consecutive_windows
from aigc_lab.data.synthetic import NO_TARGET, exact_distance
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.training.checkpoints import CheckpointError, load_checkpoint
from aigc_lab.training.interruptions import Stopped, advice_on_memory
from aigc_lab.training.loop import loss_of_batch, mean_loss, train
from aigc_lab.training.optimizers import make_optimizers
from aigc_lab.training.run_folder import CHECKPOINT_FILE, LOG_FILE, TrainSettings, read_log

CONFIG = GPTConfig.llama(20, context_length=16, d_model=16, n_layers=2, n_heads=2, dropout=0.1)
SETTINGS = TrainSettings(
    n_steps=24, n_warmup=4, log_every=2, evaluate_every=5, checkpoint_every=7, accumulate=2
)
TEXT = (torch.arange(400) ** 2 // 7) % 20


class Slow:
    """Windows that come slowly from step 8 on, so that another process can interfere."""

    def __init__(self, seconds=0.0, hook=lambda step: None):
        self.windows = Windows(TEXT, 16, 2, seed=3)
        self.seconds, self.hook = seconds, hook

    def batch(self, step):
        self.hook(step)
        time.sleep(self.seconds if step >= 16 else 0)
        return self.windows.batch(step)


def held_out(model):
    return mean_loss(model, consecutive_windows(TEXT[300:], 16))


def run(folder, *, resume=False, settings=SETTINGS, source=None, config=CONFIG, lr=0.01):
    """Train as all tests of resuming do; returns the model and the log."""
    torch.manual_seed(0 if not resume else 77)  # what is resumed replaces what is made here
    model = GPT(config)
    optimizers = make_optimizers(model, lr, muon=True)
    log = train(
        model,
        optimizers,
        source or Slow(),
        settings,
        folder,
        evaluate=held_out,
        resume=resume,
        show_progress=False,
    )
    return model, log


def without_seconds(log):
    return [{name: value for name, value in line.items() if name != "seconds"} for line in log]


def same(a: GPT, b: GPT) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def stop_at(step):
    def hook(now):
        if now == step:
            os.kill(os.getpid(), signal.SIGINT)

    return Slow(hook=hook)


def in_new_process(folder, *, resume: bool, seconds=0.0, **popen) -> subprocess.Popen:
    code = (
        "import sys, torch; torch.set_num_threads(int(sys.argv[1])); "
        "from test_loop import Slow, run; "
        f"run(sys.argv[2], resume={resume}, source=Slow({seconds}))"
    )
    here = os.path.dirname(__file__)
    command = [sys.executable, "-c", code, str(torch.get_num_threads()), folder]
    return subprocess.Popen(command, cwd=here, env={**os.environ, "PYTHONPATH": here}, **popen)


def wait_for_step(folder, step, process):
    end = time.monotonic() + 120
    while not (folder / LOG_FILE).exists() or not any(
        line["step"] >= step for line in read_log(folder)
    ):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)


# ---------------------------------------------------------------------------------- cut and resumed


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Model and log of a run that was never cut."""
    return run(tmp_path_factory.mktemp("straight") / "run")


@pytest.fixture(scope="module")
def straight_weights(straight):
    return straight[0]


@pytest.mark.parametrize("at", [1, 9, 27, 45])  # calls of the source: two for each step
def test_ctrl_c_saves_and_the_resumed_run_is_the_same(tmp_path, straight, at):
    with pytest.raises(Stopped, match=rf"stopped after step {at // 2 + 1} of 24; .*--resume"):
        run(tmp_path, source=stop_at(at))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    model, log = run(tmp_path, resume=True)
    assert same(model, straight[0])
    assert without_seconds(log) == without_seconds(straight[1])
    seconds = [line["seconds"] for line in log]
    assert seconds == sorted(seconds)


def test_a_killed_run_goes_on_in_a_new_process_and_ends_the_same(tmp_path, straight):
    process = in_new_process(tmp_path, resume=False, seconds=0.2)
    wait_for_step(tmp_path, 12, process)
    process.kill()
    process.wait()
    step, _ = load_checkpoint(tmp_path / CHECKPOINT_FILE, GPT(CONFIG))
    assert step == 7  # so the lines after it must be cut
    with open(tmp_path / LOG_FILE, "a") as log:
        log.write('{"step": 13, "lo')  # as if killed while writing
    process = in_new_process(tmp_path, resume=True)
    assert process.wait() == 0
    assert without_seconds(read_log(tmp_path)) == without_seconds(straight[1])
    finished = GPT(CONFIG)
    assert load_checkpoint(tmp_path / CHECKPOINT_FILE, finished)[0] == 24
    assert same(finished, straight[0])


def test_a_signal_from_outside_saves_and_says_how_to_go_on(tmp_path, straight):
    process = in_new_process(tmp_path, resume=False, seconds=0.2, stderr=subprocess.PIPE, text=True)
    wait_for_step(tmp_path, 8, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    step, _ = load_checkpoint(tmp_path / CHECKPOINT_FILE, GPT(CONFIG))
    assert f"stopped after step {step} of 24" in errors
    assert 8 <= step < 24
    assert process.returncode == 1
    model, log = run(tmp_path, resume=True)
    assert same(model, straight[0])
    assert without_seconds(log) == without_seconds(straight[1])


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    def hook(step):
        if step in (4, 5):  # both in one update
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source=Slow(hook=hook))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert run(tmp_path, resume=True)[1][-1]["step"] == 24


def test_it_runs_in_a_thread_where_there_are_no_signals(tmp_path, straight):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(tmp_path)))
    thread.start()
    thread.join()
    assert same(found[0][0], straight[0])


def test_resuming_a_finished_run_changes_nothing(tmp_path, straight):
    run(tmp_path)
    before = (tmp_path / LOG_FILE).read_bytes(), (tmp_path / CHECKPOINT_FILE).read_bytes()
    model, _ = run(tmp_path, resume=True)
    assert same(model, straight[0])
    after = (tmp_path / LOG_FILE).read_bytes(), (tmp_path / CHECKPOINT_FILE).read_bytes()
    assert before == after


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(tmp_path):
    run(tmp_path, settings=TrainSettings(n_steps=2))
    with pytest.raises(FileExistsError, match="already holds a run"):
        run(tmp_path)
    with pytest.raises(ValueError, match="has n_steps=2, not 3: resume with the settings"):
        run(tmp_path, resume=True, settings=TrainSettings(n_steps=3))
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        run(tmp_path / "elsewhere", resume=True)
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="is damaged"):
        run(tmp_path, resume=True)


# -------------------------------------------------------------------------------------- the numbers


def test_the_log_says_what_happened(straight):
    _, log = straight
    assert [line["step"] for line in log] == [2, 4, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20, 22, 24]
    evaluated = [line["step"] for line in log if line["eval_loss"] is not None]
    assert evaluated == [5, 10, 15, 20, 24]
    assert all(line["tokens"] == line["step"] * 2 * 2 * 16 for line in log)
    factor = {2: 0.5, 4: 1.0, 5: 1.0, 14: 0.5 + 0.5 * math.cos(math.pi * 9 / 20)}
    for line in log:
        if line["step"] in factor:
            assert line["lr"] == pytest.approx(0.01 * factor[line["step"]])
        assert line["gradient_norm"] > 0
        assert line.keys() == log[0].keys()


def test_the_logged_loss_is_the_mean_over_the_steps_since_the_line_before(tmp_path):
    config = GPTConfig.llama(20, context_length=16, d_model=16, n_layers=1, n_heads=2)
    _, fine = run(tmp_path / "a", config=config, settings=TrainSettings(n_steps=6, log_every=1))
    _, coarse = run(tmp_path / "b", config=config, settings=TrainSettings(n_steps=6, log_every=3))
    for i, line in enumerate(coarse):
        expected = sum(other["loss"] for other in fine[3 * i : 3 * i + 3]) / 3
        assert line["loss"] == pytest.approx(expected)
    torch.manual_seed(0)
    first = loss_of_batch(GPT(config), Slow().batch(0)) / 32
    assert fine[0]["loss"] == pytest.approx(first.item())


class Unequal:
    """Batches of one row each, with very different numbers of targets."""

    def __init__(self, joined):
        self.joined = joined

    def batch(self, step):
        if self.joined:
            parts = [Unequal(False).batch(2 * step + i) for i in range(2)]
            return Batch(*(torch.cat(t) for t in zip(*map(self._tensors, parts), strict=True)))
        tokens = torch.randint(20, (1, 16), generator=torch.Generator().manual_seed(step))
        targets = tokens.roll(-1, dims=1)
        targets[:, (15 if step % 2 else 1) :] = NO_TARGET
        return Batch(tokens, targets, torch.arange(16)[None] // 5)

    @staticmethod
    def _tensors(batch):
        return batch.tokens, batch.targets, batch.documents


def test_two_accumulated_batches_are_one_of_both(tmp_path):
    config = GPTConfig.llama(20, context_length=16, d_model=16, n_layers=1, n_heads=2)
    both = []
    for joined in (True, False):
        torch.manual_seed(0)
        model = GPT(config)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # shows gradients as they are
        settings = TrainSettings(n_steps=5, accumulate=1 if joined else 2, log_every=1, clip=1e9)
        log = train(
            model,
            [optimizer],
            Unequal(joined),
            settings,
            tmp_path / str(joined),
            show_progress=False,
        )
        both.append((model, log))
    (one, log_one), (two, log_two) = both
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)
    for a, b in zip(log_one, log_two, strict=True):
        assert a["tokens"] == b["tokens"] == 16 * a["step"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-5)


def test_the_gradient_is_clipped(tmp_path):
    moved = {}
    for clip in (1e-3, 1e9):
        torch.manual_seed(0)
        model = GPT(CONFIG)
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        settings = TrainSettings(n_steps=1, clip=clip)
        folder = tmp_path / str(clip)
        line = train(model, [optimizer], Slow(), settings, folder, show_progress=False)[-1]
        after = model.parameters()
        squares = sum((p - q).pow(2).sum() for p, q in zip(before, after, strict=True))
        moved[clip] = squares.sqrt().item()
        assert line["gradient_norm"] > 0.01
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert moved[1e9] == pytest.approx(line["gradient_norm"], rel=1e-3)


class Distance:
    """Random tokens; the target stood three places back."""

    def batch(self, step):
        generator = torch.Generator().manual_seed(step)
        return Batch(*exact_distance(32, 16, generator))


def test_a_task_with_a_known_answer_is_learned(tmp_path):
    torch.manual_seed(0)
    model = GPT(GPTConfig.llama(8, context_length=16, d_model=32, n_layers=1, n_heads=2))
    settings = TrainSettings(n_steps=200, n_warmup=10)
    log = train(
        model,
        make_optimizers(model, 0.01, muon=True),
        Distance(),
        settings,
        tmp_path,
        evaluate=lambda m: mean_loss(m, [Distance().batch(10_000)]),
        show_progress=False,
    )
    assert log[0]["loss"] > 0.9 * math.log(8)
    assert log[-1]["eval_loss"] < 0.03  # guessing costs log 8 = 2.08
    assert not model.training


def test_packed_documents_reach_their_entropy(tmp_path):
    """A document is a fair coin's result, twice: log 2 nats for its three targets."""

    def ids(number):
        coin = int(torch.randint(2, (1,), generator=torch.Generator().manual_seed(number)))
        return [coin, coin]

    source = PackedDocuments(ids, start_token=2, context_length=16, n_documents=80)
    torch.manual_seed(0)
    model = GPT(GPTConfig.llama(3, context_length=16, d_model=16, n_layers=1, n_heads=2))
    optimizers = make_optimizers(model, 0.02, muon=True)
    settings = TrainSettings(n_steps=150, n_warmup=5)
    train(model, optimizers, source, settings, tmp_path, show_progress=False)
    assert mean_loss(model, [source.batch(1000)]) == pytest.approx(math.log(2) / 3, abs=0.01)


def test_the_mean_loss_is_over_targets_not_over_batches():
    torch.manual_seed(0)
    model = GPT(CONFIG).train()
    batches = [Unequal(False).batch(step) for step in range(4)]
    assert [b.n_targets for b in batches] == [1, 15, 1, 15]
    value = mean_loss(model, batches)
    assert model.training  # as before
    model.eval()
    losses = [
        F.cross_entropy(model(b.tokens, documents=b.documents)[0], b.targets[0], reduction="none")
        for b in batches
    ]
    assert value == pytest.approx(torch.cat(losses).sum().item() / 32, rel=1e-5)
    empty = Batch(torch.zeros(1, 4, dtype=torch.long), torch.full((1, 4), NO_TARGET))
    with pytest.raises(ValueError, match="no target in any batch"):
        mean_loss(model, [empty])


# ---------------------------------------------------------------------------------- what goes wrong


class Poisoned(GPT):
    """Gives NaN from its tenth batch on."""

    seen = 0

    def forward(self, *arguments, **more):
        self.seen += self.training
        out = super().forward(*arguments, **more)
        return out * float("nan") if self.seen >= 10 else out


def test_a_loss_that_is_nan_stops_and_leaves_the_last_checkpoint(tmp_path):
    torch.manual_seed(0)
    model = Poisoned(CONFIG)
    settings = TrainSettings(n_steps=20, checkpoint_every=4, log_every=1)
    with pytest.raises(FloatingPointError, match="loss is nan at step 9: lower the learning rate"):
        train(model, make_optimizers(model, 0.01), Slow(), settings, tmp_path, show_progress=False)
    good = GPT(CONFIG)
    assert load_checkpoint(tmp_path / CHECKPOINT_FILE, good)[0] == 8
    assert all(p.isfinite().all() for p in good.parameters())
    assert [line["step"] for line in read_log(tmp_path)] == list(range(1, 10))


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path):
    model = GPT(CONFIG)
    optimizer = torch.optim.SGD(model.parameters(), lr=float("inf"))
    settings = TrainSettings(n_steps=1)
    with pytest.raises(FloatingPointError, match="weight is not finite after step 1"):
        train(model, [optimizer], Slow(), settings, tmp_path, show_progress=False)
    assert load_checkpoint(tmp_path / CHECKPOINT_FILE, GPT(CONFIG))[0] == 0


def test_a_step_without_any_target_is_refused_but_a_batch_may_have_none(tmp_path):
    class Empty:
        def batch(self, step):
            batch = Slow().batch(step)
            keep = batch.targets if step == 0 else torch.full_like(batch.targets, NO_TARGET)
            return Batch(batch.tokens, keep)

    model = GPT(CONFIG)
    settings = TrainSettings(n_steps=2, accumulate=2, log_every=1)
    with pytest.raises(ValueError, match="step 1 has no target"):
        train(model, make_optimizers(model, 0.01), Empty(), settings, tmp_path, show_progress=False)
    (line,) = read_log(tmp_path)
    assert line["tokens"] == 32
    assert math.isfinite(line["loss"])


class Hungry(GPT):
    def forward(self, *arguments, **more):
        return torch.empty(2**55)


def test_memory_that_runs_out_gives_advice(tmp_path):
    model = Hungry(CONFIG)
    with pytest.raises(MemoryError, match=r"2 rows of 16 tokens: halve the batch .* accumulate"):
        train(model, make_optimizers(model, 0.01), Slow(), SETTINGS, tmp_path, show_progress=False)
    for error in (torch.OutOfMemoryError("CUDA out of memory."), MemoryError()):
        with pytest.raises(MemoryError, match="halve the"), advice_on_memory((8, 4)):
            raise error
    with pytest.raises(RuntimeError, match="something else"), advice_on_memory((8, 4)):
        raise RuntimeError("something else")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_steps": 0}, "n_steps=0 must be at least 1"),
        ({"accumulate": 0}, "accumulate=0 must be at least 1"),
        ({"log_every": 0}, "log_every=0 must be at least 1"),
        ({"checkpoint_every": -1}, "checkpoint_every=-1 must be at least 0"),
        ({"n_warmup": 9}, r"n_warmup=9 must lie in 0 .. n_steps=5"),
        ({"clip": 0}, "clip=0 must be greater than 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**({"n_steps": 5} | settings))


def test_the_bar_shows_loss_speed_and_time_left(tmp_path, capsys):
    model = GPT(CONFIG)
    train(model, make_optimizers(model, 0.01), Slow(), TrainSettings(n_steps=3), tmp_path)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "3/3 [00:0" in last
    assert "loss " in last and "tokens/s" in last


def test_the_log_is_json_line_by_line(straight, tmp_path):
    run(tmp_path, settings=TrainSettings(n_steps=2, log_every=1))
    lines = (tmp_path / LOG_FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
