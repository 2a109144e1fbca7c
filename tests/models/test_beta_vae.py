"""beta-VAE: objectives, capacity, lengths, and rows that must not enter BatchNorm."""

import pytest
import torch
from torch import nn

from cardiozoo.errors import OptionError
from cardiozoo.models.beta_vae import BetaVae
from cardiozoo.nn.losses import LossTerm, combine
from cardiozoo.nn.metrics import EpochMeters
from cardiozoo.testing import make_batch
from cardiozoo.testing.subject import training_loss

T = 203
TINY = {"ecg_samples": T, "latent_size": 5, "channels": (3, 4, 5, 6)}


def build(**init):
    torch.manual_seed(0)
    return BetaVae(**{**TINY, **init})


def batch(size=5, **options):
    return make_batch(["ecg"], size=size, task_kind="unsupervised", shapes={"ecg": (12, T)}, **options)


def plain(model, x):
    """The network as written down: layer after layer."""
    for conv, norm in zip(model.encoder.convs, model.encoder.norms, strict=True):
        x = nn.functional.leaky_relu(norm(conv(x)), 0.01)
    mu, logvar = model.encoder.mu(x.flatten(1)), model.encoder.logvar(x.flatten(1))
    x = model.decoder.fc(mu).view(len(mu), 6, -1)
    for conv, norm in zip(model.decoder.convs, model.decoder.norms, strict=True):
        x = nn.functional.leaky_relu(norm(conv(x)), 0.01)
    return mu, logvar, model.decoder.last(x)


def test_the_network_and_the_objectives_are_the_ones_written_down():
    records = batch()
    for objective in ("beta", "capacity"):
        model = build(objective=objective, beta=0.3, gamma=2.0, capacity=7.0).eval()
        there = records["ecg_leads"]
        mu, logvar, drawn = plain(model, torch.where(there[..., None], records["ecg"], 0))
        mse = ((drawn - records["ecg"]) ** 2).mean(-1)[there].mean()
        kl = (0.5 * (mu**2 + logvar.exp() - logvar - 1)).sum(1).mean()
        expected = mse + (0.3 * kl if objective == "beta" else 2.0 * (kl - 7.0).abs())
        torch.testing.assert_close(training_loss(model, records), expected)
        torch.testing.assert_close(model.embed(records), mu)


@pytest.mark.parametrize("samples", [203, 200, 16, 31, 5000])
def test_as_many_samples_come_out_as_went_in(samples):
    model = build(ecg_samples=samples, latent_size=2).eval()
    z = torch.randn(2, 2)
    drawn = model.decode(z)
    assert drawn.shape == (2, 12, samples) and drawn[..., -1].any()
    released = build(ecg_samples=samples, latent_size=2, mirror_lengths=False).eval()
    released.load_state_dict(model.state_dict())
    short = released.decode(z)
    kept = samples // 16 * 16
    assert short.shape == drawn.shape and not short[..., kept:].any()
    # the sample put back changes the end only
    border = max(kept - 48, 0)
    torch.testing.assert_close(short[..., :border], drawn[..., :border])


def test_the_capacity_grows_with_training_steps_only_and_is_saved():
    model, records = build(capacity=10.0, capacity_steps=4), batch()
    seen = []
    for _ in range(6):
        seen.append(model.train().current_capacity())
        training_loss(model, records)
        training_loss(model.eval(), records)
        assert model.current_capacity() == 10.0
    assert seen == [0.0, 2.5, 5.0, 7.5, 10.0, 10.0]
    assert model.state_dict()["steps"] == 6
    again = build(capacity=10.0, capacity_steps=8)
    again.load_state_dict(model.state_dict())
    assert again.train().current_capacity() == 7.5


def test_the_distance_from_the_capacity_is_that_of_the_mean_not_of_the_records():
    values = torch.tensor([1.0, 5.0, 9.0], requires_grad=True)
    everybody = torch.ones(3, dtype=torch.bool)
    loss, means = combine({"capacity": LossTerm(values, everybody, 10.0, distance_from=6.0)})
    assert loss.item() == 10.0 and means["capacity"].item() == 1.0
    loss.backward()
    torch.testing.assert_close(values.grad, torch.full((3,), -10 / 3))
    nobody = combine({"capacity": LossTerm(values, ~everybody, 10.0, distance_from=6.0)})[0]
    assert nobody.item() == 0
    meters = EpochMeters("unsupervised")
    for part in ([0], [1, 2]):
        term = LossTerm(values.detach()[part], everybody[part], 10.0, distance_from=6.0)
        meters.update({"capacity": term}, torch.zeros(len(part), 0), torch.zeros(len(part), 0))
    assert meters.compute()["loss"].item() == pytest.approx(10.0)


def test_records_without_leads_do_not_enter_batch_norm():
    model, four = build().train(), batch(4)
    five = batch(5, present={"ecg": [True] * 4 + [False]})
    five["ecg"] = torch.cat([four["ecg"], torch.full((1, 12, T), torch.nan)])
    five["ecg_leads"] = torch.cat([four["ecg_leads"], torch.zeros(1, 12, dtype=torch.bool)])
    twin = build().train()
    torch.manual_seed(1)
    training_loss(model, four)
    torch.manual_seed(1)
    training_loss(twin, five)
    for name, value in model.state_dict().items():
        if name.startswith("encoder.norms"):  # the decoder sees other random draws
            torch.testing.assert_close(twin.state_dict()[name], value)
        assert twin.state_dict()[name].isfinite().all()
    nobody = batch(2, present={"ecg": [False, False]})
    loss = training_loss(model, nobody)
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_the_record_has_each_rows_own_loss():
    model, records = build(gamma=3.0, capacity=1.0).eval(), batch(3)
    together = model.predict_step(records)["extra"]
    for row in range(3):
        alone = {name: value[[row]] for name, value in records.items() if isinstance(value, torch.Tensor)}
        alone |= {"id": ["x"], "present": {"ecg": torch.tensor([True])}}
        torch.testing.assert_close(together["loss"][row], training_loss(model, alone))


def test_bad_options_are_refused():
    for init in ({"objective": "elbo"}, {"gamma": -1.0}, {"capacity_steps": -1}, {"ecg_samples": 15}):
        with pytest.raises(OptionError):
            build(**init)
    with pytest.raises(OptionError, match="0 convolutions"):
        build(channels=())
