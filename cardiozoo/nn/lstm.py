"""LSTM over a clinical time series."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cardiozoo.data.batch import step_mask
from cardiozoo.nn.pooling import last_valid


class LstmEncoder(nn.Module):
    """Stacked unidirectional LSTM; the output at the last valid step, then dropout (Hayat et al., 2022, section 3.1).

    Recurrent weights start orthogonal, input weights Xavier-uniform, biases at 0. The padded sequence is run as it is:
    what stands after the last valid step cannot reach the output of a unidirectional network, and no lengths have to
    travel back to the host as packing would require.

    Args:
        channels: Channels of a time step.
        hidden_size: Width of each layer and of the output.
        num_layers: Number of layers.
        dropout: Dropout on the output; there is none between the layers.
    """

    def __init__(self, channels: int, hidden_size: int = 256, num_layers: int = 2, dropout: float = 0.3) -> None:
        super().__init__()
        self.width = hidden_size
        self.lstm = nn.LSTM(channels, hidden_size, num_layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter)
            elif name.startswith("weight_ih"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(self, sequence: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, channels), int (B,) -> (B, hidden_size)."""
        lengths = lengths.clamp(1, sequence.shape[1])
        valid = step_mask(lengths, sequence.shape[1])
        sequence = torch.where(valid[..., None], sequence, 0)
        # float32 also under autocast: a thousand recurrent steps add up their rounding.
        with torch.autocast(sequence.device.type, enabled=False):
            outputs, _ = self.lstm(sequence.to(self.lstm.weight_ih_l0.dtype))
        return self.dropout(last_valid(outputs, lengths))
