"""The loss of translations, against its definition."""

import pytest
import torch

from aigc_lab.data.sentence_batches import PAD, PairBatch
from aigc_lab.models.transformer import Transformer, TransformerConfig
from aigc_lab.training.losses import translation_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_the_sum_over_real_targets_of_the_smoothed_cross_entropy(smoothing):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(7, 6, d_model=8, n_heads=2))
    batch = PairBatch(
        torch.tensor([[3, 4, 5], [6, PAD, PAD]]),
        torch.tensor([[1, 3, 4, 5], [1, 5, PAD, PAD]]),
        torch.tensor([[3, 4, 5, 2], [5, 2, PAD, PAD]]),
    )
    log_p = model(batch.source, batch.read).log_softmax(dim=-1).double()
    expected = 0.0
    for row, position in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]:
        q = torch.full((6,), smoothing / 6, dtype=torch.double)
        q[batch.targets[row, position]] += 1 - smoothing
        expected -= (q * log_p[row, position]).sum()
    found = translation_loss(model, batch, smoothing)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
