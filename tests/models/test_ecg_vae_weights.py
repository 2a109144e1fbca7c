"""Weights of the authors' files: every name and shape, the order of the leads, and files that do not fit."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from cardiozoo.data.ecg import LEADS, LIMB_LEADS
from cardiozoo.errors import CheckpointError
from cardiozoo.models.beta_vae import BetaVae
from cardiozoo.models.ecg_vae_weights import released_beta_vae, released_ls_emvae, released_mvae
from cardiozoo.models.ls_emvae import LsEmvae
from cardiozoo.models.mopoe_vae import MopoeVae
from cardiozoo.models.mvae import Mvae
from cardiozoo.testing import make_batch

T, D, CHANNELS = 203, 4, (3, 4, 5)
TINY = {"ecg_samples": T, "latent_size": D, "channels": CHANNELS}
SIZED = {"paper": (5000, 256, (16, 32, 64)), "tiny": (T, D, CHANNELS)}


def encoder(size):
    samples, latent, (a, b, c) = SIZED[size]
    width = c * -(-samples // 8)
    return nn.ModuleDict({
        "conv1": nn.Conv1d(1, a, 3), "conv2": nn.Conv1d(a, b, 3), "conv3": nn.Conv1d(b, c, 3),
        "fc_mu": nn.Linear(width, latent), "fc_logvar": nn.Linear(width, latent),
    })  # fmt: skip


def decoder(size):
    samples, latent, (a, b, c) = SIZED[size]
    return nn.ModuleDict({
        "fc": nn.Linear(latent, c * -(-samples // 8)), "convtrans1": nn.ConvTranspose1d(c, b, 4),
        "convtrans2": nn.ConvTranspose1d(b, a, 4), "convtrans3": nn.ConvTranspose1d(a, 1, 4),
    })  # fmt: skip


def released(kind, size="tiny"):
    """A state dict with the names, shapes and prefix of the authors' files."""
    torch.manual_seed(0)
    parts = {"encoders": nn.ModuleList(encoder(size) for _ in range(12))}
    if kind == "ls_emvae":
        parts["shared_decoder"] = decoder(size)
    else:
        parts["decoders"] = nn.ModuleList(decoder(size) for _ in range(12))
    return {f"_orig_mod.{name}": value for name, value in nn.ModuleDict(parts).state_dict().items()}


def saved(state, path):
    torch.save(state, path)
    return str(path)


def encode(state, lead, x):
    """Means and log-variances of one released encoder."""
    entry = {n.removeprefix(f"_orig_mod.encoders.{lead}."): v for n, v in state.items() if f".encoders.{lead}." in n}
    for conv in ("conv1", "conv2", "conv3"):
        x = nn.functional.conv1d(x, entry[f"{conv}.weight"], entry[f"{conv}.bias"], stride=2, padding=1).relu()
    return [x.flatten(1) @ entry[f"{fc}.weight"].T + entry[f"{fc}.bias"] for fc in ("fc_mu", "fc_logvar")]


def decode(state, prefix, z):
    entry = {
        n.removeprefix(f"_orig_mod.{prefix}."): v for n, v in state.items() if n.startswith(f"_orig_mod.{prefix}.")
    }
    x = (z @ entry["fc.weight"].T + entry["fc.bias"]).view(len(z), CHANNELS[2], -1)
    for layer in (1, 2, 3):
        weight, bias = entry[f"convtrans{layer}.weight"], entry[f"convtrans{layer}.bias"]
        x = nn.functional.conv_transpose1d(x, weight, bias, stride=2, padding=1)
        x = x.relu() if layer < 3 else x
    return x[..., :T]


@pytest.mark.parametrize(("kind", "entries"), [("ls_emvae", 128), ("mvae", 216)])
def test_names_and_shapes_at_the_published_size(kind, entries):
    with torch.device("meta"):
        state = released(kind, "paper")
        model = LsEmvae(fusion="released", decoder="single") if kind == "ls_emvae" else Mvae()
        translated, idle = {"ls_emvae": released_ls_emvae, "mvae": released_mvae}[kind](state, LEADS)
    assert len(state) == entries and not idle
    own = {name: tuple(value.shape) for name, value in model.named_parameters()}
    assert {name: tuple(value.shape) for name, value in translated.items()} == own


def test_ls_emvae_computes_what_the_authors_encoders_and_decoder_do(tmp_path):
    state = released("ls_emvae")
    path = saved(state, tmp_path / "best.pth")
    records = make_batch(["ecg"], shapes={"ecg": (12, T)})
    records["ecg_leads"][:] = True
    for init in ({"fusion": "released", "decoder": "single"}, {}):
        model = LsEmvae(**TINY, **init, released_weights=path).eval()
        posterior = model.encode(records)
        for lead in range(12):
            mu, _ = encode(state, lead, records["ecg"][:, [lead]])
            torch.testing.assert_close(posterior.parts["experts"][lead], mu)
        # also with lead vectors, which begin at 0
        drawn = decode(state, "shared_decoder", posterior.mu)
        torch.testing.assert_close(model.decode(posterior.mu), drawn.expand(-1, 12, -1))
    assert "released_weights" not in model.hparams


def test_aVL_and_aVF_can_be_exchanged_as_the_authors_do(tmp_path):
    state = released("ls_emvae")
    path = saved(state, tmp_path / "best.pth")
    x = torch.randn(2, 12, T)
    model = LsEmvae(**TINY, released_weights=path, swap_avl_avf=True)
    mu, logvar = model.encoders(x)
    for ours, theirs in ((3, 3), (4, 5), (5, 4), (6, 6)):
        expected = encode(state, theirs, x[:, [ours]])
        torch.testing.assert_close(mu[ours], expected[0])
        torch.testing.assert_close(logvar[ours], expected[1])


def test_a_model_of_six_leads_takes_its_encoders_by_name(tmp_path, caplog):
    caplog.set_level("INFO", logger="cardiozoo")
    state = released("mvae")
    path = saved(state, tmp_path / "best.pth")
    leads = ["V6", "aVF"]
    for cls in (Mvae, MopoeVae):
        model = cls(**TINY, ecg_leads=leads, released_weights=path).eval()
        x, z = torch.randn(2, 2, T), torch.randn(2, D)
        for ours, theirs in enumerate([11, 5]):
            torch.testing.assert_close(model.encoders(x)[0][ours], encode(state, theirs, x[:, [ours]])[0])
            torch.testing.assert_close(model.decode(z)[:, [ours]], decode(state, f"decoders.{theirs}", z))
    assert "encoders.0.conv1.weight" in caplog.text and "decoders.10.fc.bias" in caplog.text
    _, idle = released_mvae(state, LIMB_LEADS)
    assert len(idle) == 6 * 18


def released_beta(channels=(3, 4, 5, 6)):
    torch.manual_seed(0)
    sizes = (12, *channels)
    blocks = [nn.Sequential(nn.Conv1d(a, b, 4), nn.BatchNorm1d(b)) for a, b in pairwise(sizes)]
    back = channels[::-1]
    up = [nn.Sequential(nn.ConvTranspose1d(a, b, 4), nn.BatchNorm1d(b)) for a, b in pairwise(back)]
    width = channels[-1] * (T // 16)
    parts = {
        "encoder": nn.Sequential(*blocks), "fc_mu": nn.Linear(width, D), "fc_var": nn.Linear(width, D),
        "decoder_input": nn.Linear(D, width), "decoder": nn.Sequential(*up),
        "final_layer": nn.ConvTranspose1d(channels[0], 12, 4),
    }  # fmt: skip
    return {f"_orig_mod.{name}": value for name, value in nn.ModuleDict(parts).state_dict().items()}


def test_beta_vae_file(tmp_path):
    state = released_beta()
    assert len(state) == 57
    path = saved(state, tmp_path / "best.pth")
    model = BetaVae(ecg_samples=T, latent_size=D, channels=(3, 4, 5, 6), released_weights=path).eval()
    assert torch.equal(model.encoder.norms[2].running_var, state["_orig_mod.encoder.2.1.running_var"])
    assert torch.equal(model.encoder.logvar.weight, state["_orig_mod.fc_var.weight"])
    assert torch.equal(model.decoder.convs[1].weight, state["_orig_mod.decoder.1.0.weight"])
    translated, idle = released_beta_vae(state)
    own = {name: tuple(value.shape) for name, value in model.state_dict().items() if name != "steps"}
    assert {name: tuple(value.shape) for name, value in translated.items()} == own and not idle


def test_files_that_do_not_fit_are_refused(tmp_path):
    state = released("ls_emvae")
    without = {name: value for name, value in state.items() if ".encoders.3.fc_mu.bias" not in name}
    with pytest.raises(CheckpointError, match=r"lack encoders\.3\.fc_mu\.bias"):
        LsEmvae(**TINY, released_weights=saved(without, tmp_path / "a"))
    with pytest.raises(CheckpointError, match=r"no part of the network, first gate\.weight"):
        LsEmvae(**TINY, released_weights=saved(state | {"_orig_mod.gate.weight": torch.zeros(1)}, tmp_path / "b"))
    with pytest.raises(CheckpointError, match="of another shape"):
        LsEmvae(**{**TINY, "ecg_samples": 400}, released_weights=saved(state, tmp_path / "c"))
    with pytest.raises(CheckpointError, match="of another shape"):
        LsEmvae(**TINY, decoder="multichannel", released_weights=str(tmp_path / "c"))
    headless = {name: value for name, value in state.items() if "shared_decoder.fc" not in name}
    with pytest.raises(CheckpointError, match=r"2 missing, first decoder\.fc\.weight"):
        LsEmvae(**TINY, released_weights=saved(headless, tmp_path / "d"))
    # the files of MVAE and LS-EMVAE are not taken for each other
    with pytest.raises(CheckpointError, match=r"first shared_decoder\."):
        Mvae(**TINY, released_weights=str(tmp_path / "c"))
    with pytest.raises(CheckpointError, match=r"first decoders\."):
        LsEmvae(**TINY, released_weights=saved(released("mvae"), tmp_path / "e"))
