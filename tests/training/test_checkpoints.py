"""A run that stops and goes on ends bit for bit where one that never stopped ends."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aigc_lab import files
from aigc_lab.models.gpt import GPT, GPTConfig
from aigc_lab.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from aigc_lab.training.optimizers import make_optimizers

CONFIG = GPTConfig.llama(20, context_length=16, d_model=16, n_layers=2, n_heads=2, dropout=0.1)


class Run:
    """A training with chance from every source: a generator, torch, numpy and Python."""

    def __init__(self, seed=0, muon=True, config=CONFIG):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        self.model = GPT(config)
        self.optimizers = make_optimizers(self.model, 0.01, muon=muon)
        self.generator = torch.Generator().manual_seed(seed)
        self.losses = []

    def train(self, n_steps):
        for _ in range(n_steps):
            x = torch.randint(20, (4, 16), generator=self.generator)
            x = torch.roll(x, int(np.random.randint(4)) + random.randrange(4), dims=1)
            loss = F.cross_entropy(self.model(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten())
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            self.losses.append(loss.item())
        return self

    def save(self, path, step=0):
        save_checkpoint(path, self.model, self.optimizers, step, [self.generator], {"a": [1]})

    def load(self, path):
        return load_checkpoint(path, self.model, self.optimizers, [self.generator])


def same(a: Run, b: Run) -> bool:
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("muon", [False, True])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, muon):
    whole = Run(muon=muon).train(8)
    Run(muon=muon).train(3).save(tmp_path / "c", step=3)
    resumed = Run(seed=99, muon=muon)  # everything else than at the beginning
    assert resumed.load(tmp_path / "c") == (3, {"a": [1]})
    resumed.train(5)
    assert same(whole, resumed)
    assert whole.losses[3:] == resumed.losses
    assert resumed.model.head.weight is resumed.model.embedding.weight


def test_a_new_process_resumes_bit_for_bit(tmp_path):
    whole = Run().train(6)
    Run().train(2).save(tmp_path / "c")
    code = (
        "import sys, torch; from test_checkpoints import Run; run = Run(seed=5); "
        "run.load(sys.argv[1]); run.train(4).save(sys.argv[2])"
    )
    command = [sys.executable, "-c", code, tmp_path / "c", tmp_path / "d"]
    folder = os.path.dirname(__file__)
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": folder})
    other = Run(seed=7)
    other.load(tmp_path / "d")
    assert same(whole, other)


def test_without_any_part_of_the_chance_the_run_differs(tmp_path):
    whole = Run().train(6)
    Run().train(2).save(tmp_path / "c")
    for spoil in (
        lambda run: run.generator.manual_seed(1),
        lambda run: torch.manual_seed(1),
        lambda run: np.random.seed(1),
        lambda run: random.seed(1),
    ):
        run = Run()
        run.load(tmp_path / "c")
        spoil(run)
        assert not same(whole, run.train(4))


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_kill_at_any_point_of_writing_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    file = tmp_path / "c"
    run = Run().train(1)
    run.save(file, step=1)
    before = file.read_bytes()
    size = len(before)
    opened = os.fdopen
    for stop in (0, 1, 8, size // 2, size - 1, size):

        class Dies:
            def __init__(self, handle, mode, stop=stop):
                self.file, self.left = opened(handle, mode), stop

            def __enter__(self):
                return self

            def __exit__(self, *error):
                self.file.close()

            def write(self, data):
                self.file.write(data[: self.left])
                self.file.flush()
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fdopen", Dies)
            with pytest.raises(Killed):
                run.train(1).save(file, step=2)
        assert file.read_bytes() == before
        assert Run().load(file)[0] == 1


@pytest.mark.parametrize("place", [0, 100, 0.3, 0.6, -1])
def test_a_changed_byte_is_noticed(tmp_path, place):
    file = tmp_path / "c"
    Run().train(1).save(file)
    data = bytearray(file.read_bytes())
    at = int(place * len(data)) if isinstance(place, float) else place
    data[at] ^= 0x55
    file.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"damaged|no checkpoint"):
        Run().load(file)


@pytest.mark.parametrize("length", [0, 4, 500, -1])
def test_a_file_cut_short_is_noticed(tmp_path, length):
    file = tmp_path / "c"
    Run().train(1).save(file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        Run().load(file)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: Run(config=GPTConfig.llama(21, d_model=16, n_layers=2, n_heads=2)), "another mod"),
        (lambda: Run(muon=False), "saved with 2 optimizers, not 1"),
    ],
)
def test_a_checkpoint_of_something_else_changes_nothing(tmp_path, other, message):
    Run().train(1).save(tmp_path / "c")
    run = other()
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(CheckpointError, match=message):
        run.load(tmp_path / "c")
    assert all(torch.equal(before[n], t) for n, t in run.model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_only_the_model_can_be_read(tmp_path):
    trained = Run().train(2)
    trained.save(tmp_path / "c", step=2)
    state = torch.get_rng_state()
    other = Run(seed=3)
    state = torch.get_rng_state()
    assert load_checkpoint(tmp_path / "c", other.model)[0] == 2
    assert same(trained, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        Run().load(tmp_path / "none")
