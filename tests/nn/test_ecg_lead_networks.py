"""Stacked networks of the leads against one plain network a lead, built from the layers of PyTorch."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from cardiozoo.errors import OptionError
from cardiozoo.nn.ecg_lead_decoders import LeadDecoders, SharedLeadDecoder
from cardiozoo.nn.ecg_lead_encoders import LeadEncoders, frames_of

CHANNELS = (3, 4, 5)
LENGTHS = [64, 61, 8, 3]


def plain_encoder(encoders, lead):
    """The encoder of one lead as a network of its own."""
    convs, sizes = [], (1, *CHANNELS)
    for layer, (inner, outer) in enumerate(pairwise(sizes)):
        conv = nn.Conv1d(inner, outer, 3, stride=2, padding=1)
        rows = slice(lead * outer, (lead + 1) * outer)
        conv.weight.data, conv.bias.data = encoders.convs[layer].weight[rows], encoders.convs[layer].bias[rows]
        convs += [conv, nn.ReLU()]
    both = []
    for part in range(2):
        columns = slice(part * encoders.latent, (part + 1) * encoders.latent)
        linear = nn.Linear(encoders.fc.weight.shape[1], encoders.latent)
        linear.weight.data = encoders.fc.weight[lead, :, columns].T
        linear.bias.data = encoders.fc.bias[lead, columns]
        both.append(linear)
    trunk = nn.Sequential(*convs, nn.Flatten())
    return lambda x: [linear(trunk(x)) for linear in both]


def plain_decoder(weights, samples, frames):
    """fc, then three transposed convolutions; ``weights`` is a list of four (weight, bias)."""

    def decode(z):
        x = (z @ weights[0][0].T + weights[0][1]).view(len(z), CHANNELS[2], frames)
        for layer, (weight, bias) in enumerate(weights[1:]):
            x = nn.functional.conv_transpose1d(x, weight, bias, stride=2, padding=1)
            x = x.relu() if layer < 2 else x
        return x[..., :samples]

    return decode


@pytest.mark.parametrize("samples", LENGTHS)
def test_encoders_are_one_network_a_lead(samples):
    torch.manual_seed(0)
    encoders = LeadEncoders(4, samples, 6, CHANNELS)
    x = torch.randn(3, 4, samples)
    mu, logvar = encoders(x)
    assert encoders.frames == frames_of(samples) == -(-samples // 8)
    for lead in range(4):
        expected = plain_encoder(encoders, lead)(x[:, [lead]])
        torch.testing.assert_close(mu[lead], expected[0])
        torch.testing.assert_close(logvar[lead], expected[1])


def test_the_grouped_form_for_gpus_is_the_same():
    torch.manual_seed(0)
    encoders, decoders = LeadEncoders(4, 61, 6, CHANNELS), LeadDecoders(4, 61, 6, CHANNELS)
    x, z = torch.randn(3, 4, 61), torch.randn(3, 6)
    grouped = x
    for conv in encoders.convs:
        grouped = conv(grouped).relu()
    torch.testing.assert_close(encoders.features(x), grouped.view(3, 4, -1).transpose(0, 1))
    hidden = decoders.fc(z.expand(4, 3, 6)).transpose(0, 1).reshape(3, -1, decoders.frames)
    for conv in decoders.convs[:-1]:
        hidden = conv(hidden).relu()
    torch.testing.assert_close(decoders(z), decoders.convs[-1](hidden)[..., :61])


def test_weights_begin_as_those_of_single_networks():
    torch.manual_seed(0)
    encoders = LeadEncoders(12, 400, 32)
    for stacked, single in (
        (encoders.convs[1].weight, nn.Conv1d(16, 32, 3).weight),
        (encoders.fc.weight, nn.Linear(64 * 50, 64).weight),
        (encoders.fc.bias, nn.Linear(64 * 50, 64).bias),
    ):
        assert stacked.abs().max().item() == pytest.approx(single.abs().max().item(), rel=0.1)
        assert stacked.std().item() == pytest.approx(single.std().item(), rel=0.1)


@pytest.mark.parametrize("samples", LENGTHS)
def test_shared_decoder_adds_the_lead_to_the_latent_vector(samples):
    torch.manual_seed(0)
    decoder = SharedLeadDecoder(4, samples, 6, CHANNELS)
    assert not decoder.lead_embedding.any()
    nn.init.normal_(decoder.lead_embedding)
    layers = (decoder.fc, decoder.convtrans1, decoder.convtrans2, decoder.convtrans3)
    plain = plain_decoder([(layer.weight, layer.bias) for layer in layers], samples, decoder.frames)
    z = torch.randn(3, 6)
    signals = decoder(z)
    assert signals.shape == (3, 4, samples)
    for lead in range(4):
        # the literal form: one whole pass a lead
        torch.testing.assert_close(signals[:, [lead]], plain(z + decoder.lead_embedding[lead]))
    torch.testing.assert_close(decoder(z, [2, 0]), signals[:, [2, 0]])


def test_shared_decoder_has_the_gradients_of_the_literal_form():
    torch.manual_seed(0)
    decoder = SharedLeadDecoder(4, 61, 6, CHANNELS).double()
    nn.init.normal_(decoder.lead_embedding)
    z, target = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 4, 61, dtype=torch.float64)
    layers = (decoder.fc, decoder.convtrans1, decoder.convtrans2, decoder.convtrans3)
    plain = plain_decoder([(layer.weight, layer.bias) for layer in layers], 61, decoder.frames)
    parameters = list(decoder.parameters())
    ours = torch.autograd.grad(((decoder(z) - target) ** 2).sum(), parameters)
    literal = torch.cat([plain(z + vector) for vector in decoder.lead_embedding], 1)
    theirs = torch.autograd.grad(((literal - target) ** 2).sum(), parameters)
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, expected)


def test_decoders_without_lead_vectors():
    torch.manual_seed(0)
    single, many = (SharedLeadDecoder(4, 61, 6, CHANNELS, mode) for mode in ("single", "multichannel"))
    z = torch.randn(3, 6)
    assert torch.equal(single(z), single(z)[:, :1].expand(-1, 4, -1))
    signals = many(z)
    assert signals.shape == (3, 4, 61) and not torch.allclose(signals[:, 0], signals[:, 1])
    torch.testing.assert_close(many(z, [3, 1]), signals[:, [3, 1]])
    # at the start, lead vectors being 0, the shared decoder is the unconditioned one
    torch.manual_seed(0)
    torch.testing.assert_close(SharedLeadDecoder(4, 61, 6, CHANNELS)(z), single(z))
    with pytest.raises(OptionError, match="decoder 'twice'"):
        SharedLeadDecoder(4, 61, 6, CHANNELS, "twice")


@pytest.mark.parametrize("samples", LENGTHS)
def test_lead_decoders_are_one_network_a_lead(samples):
    torch.manual_seed(0)
    decoders = LeadDecoders(4, samples, 6, CHANNELS)
    z = torch.randn(4, 3, 6)
    signals = decoders(z)
    sizes = (CHANNELS[2], CHANNELS[1], CHANNELS[0])
    for lead in range(4):
        weights = [(decoders.fc.weight[lead].T, decoders.fc.bias[lead])]
        for layer, (inner, conv) in enumerate(zip(sizes, decoders.convs, strict=True)):
            outer = (*sizes[1:], 1)[layer]
            rows = slice(lead * outer, (lead + 1) * outer)
            weights.append((conv.weight[lead * inner : (lead + 1) * inner], conv.bias[rows]))
        plain = plain_decoder(weights, samples, decoders.frames)
        torch.testing.assert_close(signals[:, [lead]], plain(z[lead]))
    torch.testing.assert_close(decoders(z[0]), decoders(z[:1].expand(4, -1, -1)))
