"""Attention of each class over the representations of a patient."""

from __future__ import annotations

from torch import Tensor, nn

from cardiozoo.functional import disease_attention


class DiseaseAttention(nn.Module):
    """Query, value and one key projection a class in a single linear layer (Yao et al., 2024, section 3.4).

    Rows of the layer's weight: ``width`` for the query, ``width`` for the value, then ``width`` for each class's key.

    Args:
        width: Width of the representations.
        num_classes: Number of classes.
        bias: Whether the projections have biases. Those of the keys cannot change the attention (a softmax ignores what
            shifts all its inputs); they are kept so that the layer has the layout of the released one.
    """

    def __init__(self, width: int, num_classes: int, bias: bool = True) -> None:
        super().__init__()
        self.width, self.num_classes = width, num_classes
        self.project = nn.Linear(width, (num_classes + 2) * width, bias=bias)

    def forward(
        self, distinct_ehr: Tensor, shared: Tensor, distinct_cxr: Tensor, has_cxr: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Three (B, width), bool (B,) -> attention (B, C, 3), fused (B, C, width)."""
        # A linear layer multiplies by the transpose of its weight; the equations multiply row vectors from the right.
        weights = self.project.weight.unflatten(0, (-1, self.width)).transpose(1, 2)
        biases: tuple[Tensor | None, ...] = (None, None, None)
        if self.project.bias is not None:
            rows = self.project.bias.unflatten(0, (-1, self.width))
            biases = (rows[0], rows[2:], rows[1])
        return disease_attention(
            distinct_ehr, shared, distinct_cxr, has_cxr, weights[0], weights[2:], weights[1], *biases
        )
