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


def beat_network(model):
    """The published network as one sequence of library layers, with the model's weights in their order."""

    class Again(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            for _ in range(5):
                x = nn.functional.leaky_relu(self.layer(x))
            return x

    down = []
    for inner, outer, stride, edge in ((1, 8, 1, 0), (8, 16, 1, 0), (16, 32, 2, 1), (32, 64, 2, 1)):
        down += [nn.Conv2d(inner, outer, (1, 3), (1, stride), (0, edge)), nn.InstanceNorm2d(outer), nn.LeakyReLU()]
    down += [Again(nn.Conv2d(64, 64, (1, 3), (1, 2), (0, 1))), nn.Flatten(), nn.Linear(3072, 50), nn.Linear(3072, 50)]
    up = [nn.Linear(50, 3072), nn.LeakyReLU(), nn.Unflatten(1, (64, 12, 4))]
    up += [Again(nn.ConvTranspose2d(64, 64, (1, 3), (1, 2), (0, 1)))]
    for inner, outer, stride, edge in ((64, 32, 2, 1), (32, 16, 2, 1), (16, 8, 1, 0)):
        up += [nn.ConvTranspose2d(inner, outer, (1, 3), (1, stride), (0, edge))]
        up += [nn.InstanceNorm2d(outer), nn.LeakyReLU()]
    up += [nn.ConvTranspose2d(8, 1, (1, 3)), nn.Linear(389, 400)]
    body, mu, logvar, up = nn.Sequential(*down[:-2]), down[-2], down[-1], nn.Sequential(*up)
    ours = [*model.encoder.parameters(), *model.decoder.fc.parameters(), *model.decoder.again.parameters()]
    ours += [*model.decoder.convs.parameters(), *model.decoder.last.parameters(), *model.decoder.time.parameters()]
    theirs = [*body.parameters(), *mu.parameters(), *logvar.parameters(), *up.parameters()]
    assert len(ours) == len(theirs) == len(list(model.parameters()))
    with torch.no_grad():
        for a, b in zip(theirs, ours, strict=True):
            a.copy_(b)
    return body, mu, logvar, up


def test_the_network_of_beats_is_the_published_one():
    torch.manual_seed(0)
    model = BetaVae(network="beat", ecg_samples=400, latent_size=50, objective="beta", beta=0.005).eval()
    records = make_batch(["ecg"], size=4, task_kind="unsupervised", shapes={"ecg": (12, 400)})
    signals = torch.where(records["ecg_leads"][..., None], records["ecg"], 0)
    body, to_mu, to_logvar, up = beat_network(model)
    features = body(signals[:, None])
    mu, logvar = to_mu(features), to_logvar(features)
    drawn = up(mu)[:, 0]
    torch.testing.assert_close(model.embed(records), mu)
    torch.testing.assert_close(model.decode(mu), drawn)
    # as released: squared errors summed over samples, averaged over leads, plus twice the divergence
    whole = records["ecg_leads"].all(1)
    assert 0 < whole.sum() < len(whole)
    errors = ((drawn - records["ecg"]) ** 2)[whole].sum((1, 2)) / 12
    divergence = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1)[whole]
    released = errors + 2 * divergence
    loss = model.predict_step(records)["extra"]["loss"][whole]
    torch.testing.assert_close(400 * loss, released, rtol=1e-5, atol=0)


@pytest.mark.parametrize("samples", [9, 40, 401])
def test_beats_of_any_length_and_any_leads_come_out_as_they_went_in(samples):
    torch.manual_seed(0)
    leads = ["I", "II", "V1"]
    model = BetaVae(leads, samples, 4, network="beat", channels=(2, 3, 4), halvings=1, objective="beta")
    records = make_batch(["ecg"], size=3, task_kind="unsupervised", shapes={"ecg": (12, samples)})
    training_loss(model, records).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.decode(torch.randn(2, 4)).shape == (2, 3, samples)
    for init in ({"halvings": -1}, {"ecg_samples": 4}, {"network": "beats"}, {"channels": ()}):
        with pytest.raises(OptionError):
            BetaVae(**{"ecg_leads": leads, "ecg_samples": 9, "network": "beat", **init})


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
