"""The mathematics of the models: pure functions on tensors, each with its equation and its source.

Common to all: float64 stays float64, float16 and bfloat16 are computed in float32 and autocast is switched off inside;
values and gradients are finite in the stated domain; masked entries may hold NaN or inf; inputs are never changed; a
wrong shape raises ``ValueError``. Shapes: E experts, B batch, D latent dimensions, C classes. ``mask`` is bool, True =
present.
"""

from cardiozoo.functional.drfuse import (
    absolute_cosine,
    attention_ranking_loss,
    bernoulli_js_divergence,
    disease_attention,
    logit_pool,
    orthogonality_loss,
)
from cardiozoo.functional.gaussian import (
    alignment_distance,
    alignment_loss,
    kl_standard_normal,
    linear_annealing,
    mixture_of_experts,
    product_of_experts,
    reparameterize,
    soft_clamp,
    subset_members,
    subset_posteriors,
)
from cardiozoo.functional.losses import binary_focal_loss, logcosh_loss, rmse_loss

__all__ = [
    "absolute_cosine",
    "alignment_distance",
    "alignment_loss",
    "attention_ranking_loss",
    "bernoulli_js_divergence",
    "binary_focal_loss",
    "disease_attention",
    "kl_standard_normal",
    "linear_annealing",
    "logcosh_loss",
    "logit_pool",
    "mixture_of_experts",
    "orthogonality_loss",
    "product_of_experts",
    "reparameterize",
    "rmse_loss",
    "soft_clamp",
    "subset_members",
    "subset_posteriors",
]
