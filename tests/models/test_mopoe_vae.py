"""MoPoE-VAE: mixture over subsets against enumeration, its options, missing leads."""

import pytest
import torch

from cardiozoo.data.ecg import LIMB_LEADS
from cardiozoo.errors import OptionError
from cardiozoo.functional import kl_standard_normal, subset_posteriors
from cardiozoo.models.mopoe_vae import MopoeVae
from cardiozoo.testing import make_batch

T = 83
TINY = {"ecg_samples": T, "latent_size": 5, "channels": (3, 4, 5), "ecg_leads": ["I", "II", "V1", "V2", "V3"]}
ROWS = [0, 1, 6, 7, 8]


def build(**init):
    torch.manual_seed(0)
    return MopoeVae(**{**TINY, **init})


def batch(size=5, **options):
    return make_batch(["ecg"], size=size, task_kind="unsupervised", shapes={"ecg": (12, T)}, **options)


@pytest.mark.parametrize("prior", ["full", "none", "all"])
def test_evaluation_averages_the_divergences_of_all_subsets_of_present_leads(prior):
    model, records = build(prior=prior).eval(), batch(present={"ecg": [True] * 4 + [False]})
    outputs = model(records)
    mu, logvar = outputs["experts"], outputs["expert_logvars"]
    for row in range(4):
        there = records["ecg_leads"][row, ROWS]
        posteriors = subset_posteriors(mu[there, row][:, None], logvar[there, row][:, None], prior)
        torch.testing.assert_close(outputs["divergence"][row], kl_standard_normal(*posteriors).mean())
        torch.testing.assert_close(outputs["mu"][row], posteriors[0][-1, 0])
        torch.testing.assert_close(outputs["logvar"][row], posteriors[1][-1, 0])
    assert outputs["divergence"][4] == 0 and not outputs["mu"][4].any() and not outputs["logvar"][4].any()


def test_training_with_all_subsets_has_the_divergence_of_evaluation():
    model, records = build(subsets=0), batch()
    model.eval()
    expected = model(records)["divergence"]
    torch.testing.assert_close(model.train()(records)["divergence"], expected)
    sampled = build(subsets=3).train()
    with torch.no_grad():
        posterior = sampled.encode(records)
        draws = torch.stack([sampled._sample(posterior)[1] for _ in range(400)])
    assert not torch.allclose(draws[0], draws[1])
    error = draws.std(0) / 400**0.5
    assert ((draws.mean(0) - expected).abs() < 5 * error + 1e-6).all()


def test_records_are_drawn_from_single_components():
    """With nearly no noise, each latent vector lies at the mean of one subset, and all subsets get their turn."""
    model, records = build().train(), batch(1)
    records["ecg_leads"][:] = True
    with torch.no_grad():
        model.encoders.fc.weight[..., 5:] = 0
        model.encoders.fc.bias[..., 5:] = -200.0
    model.logvar_limit = 35.0
    posterior = model.encode(records)
    means, _ = subset_posteriors(posterior.parts["experts"], posterior.parts["expert_logvars"])
    hits = torch.zeros(31)
    for _ in range(400):
        z, _ = model._sample(posterior)
        distance = (z - means[:, 0]).norm(dim=1)
        assert distance.min() < 1e-4
        hits[distance.argmin()] += 1
    assert (hits > 0).all() and hits.max() < 40
    model.selection = "slices"  # one record, 31 subsets: the official code takes the full one
    z, _ = model._sample(posterior)
    torch.testing.assert_close(z[0], means[-1, 0], atol=1e-4, rtol=0)


def test_the_laplace_likelihood():
    model, records = build(likelihood="laplace", reconstruction_weight=1.0).eval(), batch()
    outputs = model(records)
    there = records["ecg_leads"][:, ROWS]
    errors = (outputs["reconstruction"] - records["ecg"][:, ROWS]).abs().sum(-1) / 0.75
    expected = torch.where(there, errors, 0).sum(1)
    torch.testing.assert_close(model.loss_terms(records, outputs)["reconstruction"].values, expected)


def test_the_grouped_fusion_is_that_of_the_released_ls_emvae():
    model, records = build(fusion="grouped", ecg_leads=None).eval(), batch()
    records["ecg_leads"][:] = True
    outputs = model(records)
    mu, logvar = outputs["experts"], outputs["expert_logvars"]
    groups = [(-logvar[i : i + 3]).exp() for i in range(0, 12, 3)]
    means = [(p * mu[3 * i : 3 * i + 3]).sum(0) / p.sum(0) for i, p in enumerate(groups)]
    torch.testing.assert_close(outputs["mu"], sum(means) / 4)
    torch.testing.assert_close(outputs["divergence"], kl_standard_normal(mu.mean(0), logvar.mean(0)))
    assert model.embed(records, leads=list(LIMB_LEADS)).isfinite().all()


def test_bad_options_are_refused():
    for init in ({"fusion": "poe"}, {"prior": "some"}, {"subsets": -1}, {"selection": "best"}, {"likelihood": "t"}):
        with pytest.raises(OptionError, match=next(iter(init))):
            build(**init)
