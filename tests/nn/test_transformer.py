"""The Transformer: masks, positions, and the framework's fast path in evaluation."""

import pytest
import torch

from cardiozoo.errors import OptionError
from cardiozoo.nn.pooling import masked_mean
from cardiozoo.nn.transformer import StepEmbedding, TransformerBlock


def pooled(embedding, block, sequence, lengths):
    embedded, valid = embedding(sequence, lengths)
    return masked_mean(block(embedded, valid), valid)


@pytest.fixture
def parts():
    torch.manual_seed(0)
    return StepEmbedding(5, 8, max_steps=12), TransformerBlock(8, 2, num_heads=2, feedforward=16, dropout=0.0)


def test_a_padded_row_equals_the_row_alone(parts):
    sequence, lengths = torch.randn(3, 12, 5), torch.tensor([12, 1, 7])
    together = pooled(*parts, sequence, lengths)
    for row, length in enumerate(lengths):
        alone = pooled(*parts, sequence[row : row + 1, :length], length[None])
        torch.testing.assert_close(together[row : row + 1], alone)


@pytest.mark.parametrize("autocast", [False, True])
def test_evaluation_equals_training_without_dropout(parts, autocast):
    sequence, lengths = torch.randn(3, 12, 5), torch.tensor([12, 1, 7])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        trained = pooled(*parts, sequence, lengths).detach()
    for part in parts:
        part.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        evaluated = pooled(*parts, sequence, lengths)
    torch.testing.assert_close(evaluated.float(), trained.float(), atol=2e-2 if autocast else 1e-5, rtol=1e-4)


def test_positions_tell_the_order(parts):
    sequence = torch.randn(1, 6, 5)
    there, back = (pooled(*parts, s, torch.tensor([6])) for s in (sequence, sequence.flip(1)))
    assert not torch.allclose(there, back, atol=1e-3)


def test_too_long_a_series_and_heads_that_do_not_divide_are_refused(parts):
    with pytest.raises(OptionError, match=r"13 steps.*\n.*12 steps.*\n.*window"):
        parts[0](torch.randn(1, 13, 5), torch.tensor([13]))
    with pytest.raises(OptionError, match="num_heads 3"):
        TransformerBlock(8, 1, 3, 16, 0.0)
