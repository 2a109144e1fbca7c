"""LS-EMVAE: any set of leads, its loss against a literal loop, its ablations, its annealing."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from cardiozoo.data.ecg import LEADS, LIMB_LEADS
from cardiozoo.errors import OptionError
from cardiozoo.models.ls_emvae import LsEmvae
from cardiozoo.nn.losses import combine
from cardiozoo.testing import make_batch
from cardiozoo.testing.subject import training_loss

T = 203
TINY = {"ecg_samples": T, "latent_size": 6, "channels": (3, 4, 5)}


def build(seed=0, **init):
    torch.manual_seed(seed)
    model = LsEmvae(**{**TINY, **init})
    for parameter in (getattr(model.fusion, "score", None), getattr(model.fusion, "bias", None)):
        if parameter is not None:
            nn.init.normal_(parameter)  # a gate that has learned something
    if hasattr(model.decoder, "lead_embedding"):
        nn.init.normal_(model.decoder.lead_embedding)
    return model.eval()


def batch(size=4, **options):
    return make_batch(["ecg"], size=size, task_kind="unsupervised", shapes={"ecg": (12, T)}, **options)


def masked(records, leads):
    """The records with these leads only; what the others hold is nonsense."""
    kept = torch.tensor([lead in leads for lead in LEADS])
    ecg = torch.where(kept[:, None], records["ecg"], torch.nan)
    return {**records, "ecg": ecg, "ecg_leads": records["ecg_leads"] & kept}


def part_of(model, leads, **init):
    """A model of these leads only, with the same weights."""
    rows = [LEADS.index(lead) for lead in leads]
    smaller = build(1, ecg_leads=list(leads), **init)
    own, state = model.state_dict(), {}
    for name, value in own.items():
        if name.startswith("encoders.convs"):
            value = value.view(12, -1, *value.shape[1:])[rows].flatten(0, 1)
        elif name.startswith("encoders.fc") or name == "decoder.lead_embedding":
            value = value[rows]
        elif name == "fusion.bias":
            value = value[[*rows, *range(12, len(value))]]
        state[name] = value
    smaller.load_state_dict(state)
    return smaller


@pytest.mark.parametrize("init", [{}, {"prior": True}, {"poe": False}, {"moe": False}, {"fusion": "released"}], ids=str)
@pytest.mark.parametrize("leads", [LIMB_LEADS, ("V1",), ("I", "V3", "V6")], ids=lambda leads: "-".join(leads))
def test_masked_leads_are_as_a_model_without_them(leads, init):
    model = build(**init)
    smaller = part_of(model, leads, **init)
    records = batch()
    records["ecg_leads"][:, LEADS.index(leads[0])] = True
    full, part = masked(records, leads), smaller(masked(records, leads))
    rows = [LEADS.index(lead) for lead in leads]
    outputs = model(full)
    same = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(outputs["mu"], part["mu"], **same)
    torch.testing.assert_close(outputs["logvar"], part["logvar"], **same)
    torch.testing.assert_close(outputs["reconstruction"][:, rows], part["reconstruction"], **same)
    ours, theirs = (training_loss(m, full) for m in (model, smaller))
    torch.testing.assert_close(ours, theirs, **same)
    ours.backward(), theirs.backward()
    # the gradients of the smaller model are the same numbers at the same places, and the other leads get none
    grown = {n: p.grad for n, p in model.named_parameters()}
    for name, parameter in smaller.named_parameters():
        got = grown[name]
        if name.startswith("encoders.convs"):
            got, rest = split_leads(got.view(12, -1, *got.shape[1:]), rows)
            got = got.flatten(0, 1)
        elif name.startswith("encoders.fc") or name == "decoder.lead_embedding":
            got, rest = split_leads(got, rows)
        else:
            got, rest = (got[[*rows, *range(12, len(got))]] if name == "fusion.bias" else got), torch.zeros(1)
        torch.testing.assert_close(got, parameter.grad, **same)
        assert not rest.any(), f"{name} of an absent lead got a gradient"


def split_leads(values, rows):
    others = [lead for lead in range(12) if lead not in rows]
    return values[rows], values[others]


def test_leads_of_embed_are_a_mask():
    model, records = build(), batch()
    for name in model.representations:
        got = model.embed(records, name, list(LIMB_LEADS))
        assert got.shape == (4, model.embedding_size(name, list(LIMB_LEADS)))
        expected = model.embed(masked(records, LIMB_LEADS), name)
        if name == "lead_concat":
            expected = expected[:, : 6 * 6]
        if name == "experts":
            expected = torch.cat([expected[:, : 6 * 6], expected[:, -6:]], 1)
        torch.testing.assert_close(got, expected)
    fused = model.encode(records, ["V2"])
    torch.testing.assert_close(fused.mu, model.encode(masked(records, ["V2"])).mu)
    with pytest.raises(OptionError, match=r"leads \['V9'\]"):
        model.embed(records, leads=["V9"])
    with pytest.raises(OptionError, match="representation 'all'"):
        model.embed(records, "all")
    with pytest.raises(OptionError, match="without product"):
        build(poe=False).embed(records, "experts")


def test_a_record_without_leads_has_the_prior_and_no_part_in_the_loss():
    model, three = build(), batch(3)
    four = batch(4, present={"ecg": [True, True, True, False]})
    four["ecg"] = torch.cat([three["ecg"], torch.full((1, 12, T), torch.nan)])
    four["ecg_leads"] = torch.cat([three["ecg_leads"], torch.zeros(1, 12, dtype=torch.bool)])
    posterior = model.encode(four)
    assert not posterior.mu[3].any() and not posterior.logvar[3].any()
    ours, theirs = training_loss(model, four), training_loss(model, three)
    torch.testing.assert_close(ours, theirs)
    record = model.predict_step(four)
    assert all(column[3].isnan() and not column[0].isnan() for column in record["extra"].values())
    assert record["score"].shape == record["target"].shape == (4, 0) and record["class_names"] == []
    nobody = batch(2, present={"ecg": [False, False]})
    loss = training_loss(model.train(), nobody)
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_loss_is_the_literal_sum_over_present_leads():
    weights = [1.0 + i for i in range(12)]
    model, records = build(lead_weights=weights, gamma=0.7, reconstruction_weight=0.02, beta=0.3), batch(5)
    outputs = model(records)
    loss, means = combine(model.loss_terms(records, outputs))
    reconstruction, divergence, alignment = [], [], []
    for row in range(5):
        there = records["ecg_leads"][row].nonzero().flatten().tolist()
        drawn, seen = outputs["reconstruction"][row], records["ecg"][row]
        reconstruction.append(sum(0.02 * weights[i] * ((drawn[i] - seen[i]) ** 2).sum() for i in there))
        mu, variance = outputs["mu"][row], outputs["logvar"][row].exp()
        divergence.append(0.5 * (mu**2 + variance - variance.log() - 1).sum())
        distances = [((outputs["experts"][k, row] - mu) ** 2).sum() for k in [*there, 12]]
        alignment.append(sum(distances) / len(distances))
    parts = [torch.stack(part).mean() for part in (reconstruction, divergence, alignment)]
    torch.testing.assert_close(loss, parts[0] + 0.3 * parts[1] + 0.7 * parts[2])
    for name, part in zip(("reconstruction", "kl", "alignment"), parts, strict=True):
        torch.testing.assert_close(means[name], part)
    record = model.predict_step(records)
    torch.testing.assert_close(record["extra"]["loss"].mean(), loss)
    for i, lead in enumerate(LEADS):
        mse = ((outputs["reconstruction"][:, i] - records["ecg"][:, i]) ** 2).mean(1)
        expected = torch.where(records["ecg_leads"][:, i], mse, torch.nan)
        torch.testing.assert_close(record["extra"][f"mse/{lead}"], expected, equal_nan=True)


def test_released_loss_is_the_one_described():
    model, records = build(fusion="released", decoder="single"), batch(3)
    records["ecg_leads"][:] = True
    outputs = model(records)
    loss, _ = combine(model.loss_terms(records, outputs))
    mu, logvar = model.encoders(records["ecg"])
    average_mu, average_logvar = mu.mean(0), logvar.mean(0)
    kl = -0.5 * (1 + average_logvar - average_mu**2 - average_logvar.exp()).sum(1).mean()
    drawn = outputs["reconstruction"]
    assert torch.equal(drawn[:, 0], drawn[:, 7])
    errors = 1e-3 * ((drawn - records["ecg"]) ** 2).sum() / 3
    torch.testing.assert_close(loss, errors + kl + 0.1 * ((mu - average_mu) ** 2).mean())


def test_ablations():
    records = batch()
    assert "alignment" not in build(alignment=False).loss_terms(records, build()(records))
    whole, without_poe, without_moe = (build(**init)(records) for init in ({}, {"poe": False}, {"moe": False}))
    assert whole["gate"].shape == (4, 13) and without_poe["gate"].shape == (4, 12)
    assert "gate" not in without_moe
    torch.testing.assert_close(without_moe["mu"], whole["product"])
    assert not torch.allclose(without_poe["mu"], whole["mu"])


def test_training_samples_and_evaluation_does_not():
    model, records = build(), batch()
    torch.testing.assert_close(model(records)["reconstruction"], model(records)["reconstruction"])
    model.train()
    torch.manual_seed(0)
    draws = torch.stack([model(records)["reconstruction"] for _ in range(2)])
    assert not torch.allclose(draws[0], draws[1])
    # the sample is mu + exp(logvar / 2) noise with the noise of the generator
    torch.manual_seed(0)
    outputs = model(records)
    torch.manual_seed(0)
    z = outputs["mu"] + torch.exp(0.5 * outputs["logvar"]) * torch.randn(4, 6)
    torch.testing.assert_close(model.decode(z), outputs["reconstruction"])


def test_reconstructions_are_twelve_signals_and_unknown_leads_are_nan():
    model, records = build(), batch()
    whole = model.reconstruct(records)
    assert whole.shape == (4, 12, T) and whole.isfinite().all()
    assert not torch.allclose(whole[:, 0], whole[:, 1])
    torch.testing.assert_close(whole, model.decode(model.encode(records).mu))
    torch.testing.assert_close(model.decode(model.encode(records).mu, ["V1", "I"]), whole[:, [6, 0]])
    two = build(ecg_leads=["V1", "I"])
    part = two.reconstruct(records)
    assert part[:, [0, 6]].isfinite().all() and part[:, 1:6].isnan().all()
    torch.testing.assert_close(part[:, [6, 0]], two.decode(two.encode(records).mu))


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        # three batches an epoch: the update's number by 2 x 3
        ({"annealing": "step", "annealing_epochs": 2}, [i / 6 for i in range(6)] + [1.0] * 3),
        ({"annealing": "epoch", "annealing_epochs": 2}, [0.5] * 3 + [1.0] * 6),
        ({"annealing": "none"}, [1.0] * 9),
        ({"annealing": "epoch", "annealing_epochs": 4, "beta": 2.0}, [0.5] * 3 + [1.0] * 3 + [1.5] * 3),
    ],
)
def test_annealing(init, expected):
    model, seen = build(**init).train(), []
    terms = model.loss_terms

    def spy(records, outputs):
        found = terms(records, outputs)
        if model.training:
            seen.append(found["kl"].weight)
        else:
            assert found["kl"].weight == model.beta
        return found

    model.loss_terms = spy
    trainer = Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=1,
    )  # fmt: skip
    batches = [batch(2, seed=i) for i in range(3)]
    trainer.fit(model, *(DataLoader(batches, batch_size=None) for _ in range(2)))
    assert seen == pytest.approx(expected)
    optimizer = trainer.optimizers[0]
    assert type(optimizer) is torch.optim.AdamW and optimizer.defaults["fused"]


def test_it_learns_to_tell_the_leads_apart():
    """Records of one pattern a lead with random sizes: each lead comes out as itself, not as the leads' mean."""
    torch.manual_seed(0)
    patterns = torch.sin(torch.arange(T) * torch.linspace(0.05, 0.5, 12)[:, None])
    size = 1 + 0.3 * torch.randn(16, 1, 1)
    records = {**batch(16), "ecg": size * patterns, "ecg_leads": torch.ones(16, 12, dtype=torch.bool)}
    model = LsEmvae(ecg_samples=T, latent_size=8, channels=(4, 4, 8), reconstruction_weight=0.05).train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        training_loss(model, records).backward()
        optimizer.step()
    errors = (model.eval().reconstruct(records) - records["ecg"]).square().mean((0, 2))
    of_the_mean = (records["ecg"].mean(1, keepdim=True) - records["ecg"]).square().mean((0, 2))
    assert (errors < 0.5 * of_the_mean).all(), (errors / of_the_mean).tolist()


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"ecg_leads": ["I", "V9"]}, "ecg_leads"), ({"ecg_leads": []}, "ecg_leads"),
        ({"ecg_leads": ["I", "I"]}, "twice"),
        ({"fusion": "own"}, "fusion 'own'"), ({"gate": "hard"}, "gate 'hard'"), ({"gamma": -1.0}, "gamma"),
        ({"lead_weights": [1.0]}, "lead_weights"), ({"task_kind": "binary"}, "task_kind 'binary'"),
        ({"annealing": "cosine"}, "annealing 'cosine'"), ({"latent_size": 0}, "latent_size 0"),
        ({"poe": False, "moe": False}, "poe false"), ({"logvar_limit": 0.0}, "logvar_limit"),
    ],
)  # fmt: skip
def test_bad_options_stop_before_work_begins(init, words):
    with pytest.raises(OptionError, match=words):
        LsEmvae(**{**TINY, **init})


def test_signals_of_another_length_or_number_of_rows_are_refused():
    model = build()
    with pytest.raises(OptionError, match="Signals of 100 samples"):
        model(make_batch(["ecg"], shapes={"ecg": (12, 100)}))
    with pytest.raises(ValueError, match=r"\(B, 12, samples\)"):
        model({**batch(), "ecg": torch.zeros(4, 6, T)})
    assert math.isfinite(training_loss(model, batch()).item())
