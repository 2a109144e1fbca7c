"""The networks on electrocardiograms in double precision, and in bfloat16 throughout."""

import pytest
import torch

from cardiozoo.nn.losses import combine
from cardiozoo.testing.subject import Subject, locate, training_loss

NAMES = ("ls_emvae", "mvae", "mopoe_vae", "beta_vae", "multimodal_cnn", "resnet1d", "xresnet1d101")


def model_and_batch(name, dtype):
    subject = Subject(*locate(name, "model"), {"ecg_samples": 203}, None, {"ecg": (12, 203)})
    batch = subject.batch(size=4)
    batch["ecg_leads"][0, 3:] = False
    return subject.build().to(dtype), {**batch, "ecg": batch["ecg"].to(dtype)}


def loss_in_evaluation(model, batch):
    return combine(model.loss_terms(batch, model.eval()(batch)))[0]


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_stays_double_and_gives_the_same_numbers(name):
    loss = loss_in_evaluation(*model_and_batch(name, torch.float64))
    single = loss_in_evaluation(*model_and_batch(name, torch.float32))
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss.float(), single, rtol=1e-5, atol=1e-6)
    model, batch = model_and_batch(name, torch.float64)
    training_loss(model.train(), batch).backward()
    assert all(p.grad.dtype == torch.float64 and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_throughout_is_near_single_precision(name):
    """As with the Trainer's precision bf16-true, where weights and signals are halved and autocast does nothing."""
    loss = loss_in_evaluation(*model_and_batch(name, torch.bfloat16))
    single = loss_in_evaluation(*model_and_batch(name, torch.float32))
    torch.testing.assert_close(loss, single, rtol=0.05, atol=0.05)
    model, batch = model_and_batch(name, torch.bfloat16)
    training_loss(model.train(), batch).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_mean_of_a_loss_keeps_double_precision():
    # a third is no number of single precision
    model, batch = model_and_batch("beta_vae", torch.float64)
    batch["ecg_leads"][1] = False
    terms = model.loss_terms(batch, model.eval()(batch))
    kl = terms["kl"].values[terms["kl"].mask]
    assert len(kl) == 3
    torch.testing.assert_close(combine({"kl": terms["kl"]})[0], terms["kl"].weight * kl.mean(), rtol=1e-14, atol=0)
