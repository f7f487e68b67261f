"""The comparison at the end of an exercise shows a wrong function, should one get so far."""

import matplotlib as mpl
import pytest

from aigc_lab.exercises import swap
from aigc_lab.exercises.pipelines import compare_curves, look_back_losses
from aigc_lab.models.attention import attend

mpl.use("Agg")


@pytest.fixture(scope="module")
def book():
    return look_back_losses(n_steps=20)


def test_the_same_function_gives_the_same_curve(book, capsys):
    with swap("aigc_lab.models.attention.attend", attend) as swapped:
        yours = look_back_losses(n_steps=20)
    assert swapped.calls == 40
    assert compare_curves(book, yours) < 1e-6
    assert "differ by" in capsys.readouterr().out


def test_a_wrong_scale_is_seen(book):
    def wrong(q, k, v, **more):
        return attend(q, k, v, scale=(q.shape[1] * q.shape[-1]) ** -0.5, **more)

    with swap("aigc_lab.models.attention.attend", wrong):
        yours = look_back_losses(n_steps=20)
    assert compare_curves(book, yours) > 1e-3


def test_the_task_is_learned():
    assert look_back_losses()[-1] < 0.1
