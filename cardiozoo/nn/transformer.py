"""Transformer over a clinical time series (Yao et al., 2024, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardiozoo.data.batch import step_mask
from cardiozoo.errors import OptionError


class StepEmbedding(nn.Module):
    """Linear embedding of each time step plus a learned position.

    Args:
        channels: Channels of a time step.
        width: Width of the embedding.
        max_steps: Number of positions learned; a longer sequence is refused.
    """

    def __init__(self, channels: int, width: int, max_steps: int = 350) -> None:
        super().__init__()
        self.project = nn.Linear(channels, width)
        self.positions = nn.Parameter(torch.empty(1, max_steps, width).uniform_(-0.1, 0.1))

    def forward(self, sequence: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, channels), int (B,) -> embedded (B, T, width), valid steps (B, T)."""
        steps, limit = sequence.shape[1], self.positions.shape[1]
        if steps > limit:
            raise OptionError(
                f"A time series of {steps} steps came.",
                f"The model has learned positions for at most {limit} steps.",
                "Shorten the window (--data.window 48h), coarsen --data.timestep, or raise --model.max_steps.",
            )
        valid = step_mask(lengths.clamp(1, steps), steps)
        return self.project(torch.where(valid[..., None], sequence, 0)) + self.positions[:, :steps], valid


class TransformerBlock(nn.Module):
    """Post-norm encoder layers with ReLU, padded steps closed to attention.

    Args:
        width: Width of the sequence.
        num_layers: Number of layers.
        num_heads: Attention heads; must divide ``width``.
        feedforward: Width of the hidden layer of the feed-forward part.
        dropout: Dropout in each layer.
    """

    def __init__(self, width: int, num_layers: int, num_heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        if width % num_heads:
            raise OptionError(
                f"hidden_size {width} with num_heads {num_heads}.",
                "The heads must divide the hidden size.",
                "Change --model.hidden_size or --model.num_heads.",
            )
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, num_heads, feedforward, dropout, batch_first=True)
            for _ in range(num_layers)
        )

    def forward(self, sequence: Tensor, valid: Tensor) -> Tensor:
        """(B, T, width), bool (B, T) -> (B, T, width); what stands at padded steps has no meaning."""
        for layer in self.layers:
            sequence = layer(sequence, src_key_padding_mask=~valid)
        return sequence
