"""The padded LSTM against packed sequences, and its first weights."""

import torch
from torch.nn.utils.rnn import pack_padded_sequence

from cardiozoo.nn.lstm import LstmEncoder


def test_output_and_gradients_equal_those_of_packed_sequences():
    torch.manual_seed(0)
    encoder = LstmEncoder(5, hidden_size=7, num_layers=2, dropout=0.0)
    sequence, lengths = torch.randn(4, 9, 5), torch.tensor([3, 9, 1, 6])
    packed = pack_padded_sequence(sequence, lengths, batch_first=True, enforce_sorted=False)
    expected = encoder.lstm(packed)[1][0][-1]
    torch.testing.assert_close(encoder(sequence, lengths), expected)
    weights = torch.randn(4, 7)
    parameters = list(encoder.parameters())
    reference = torch.autograd.grad((expected * weights).sum(), parameters)
    got = torch.autograd.grad((encoder(sequence, lengths) * weights).sum(), parameters)
    torch.testing.assert_close(got, reference)


def test_a_length_of_zero_counts_as_one_step():
    encoder = LstmEncoder(5, 7).eval()
    sequence = torch.randn(2, 3, 5)
    torch.testing.assert_close(
        encoder(sequence, torch.tensor([0, 3])), encoder(sequence, torch.tensor([1, 3])), rtol=0, atol=0
    )


def test_first_weights():
    lstm = LstmEncoder(5, hidden_size=8, num_layers=2).lstm
    for layer in range(2):
        recurrent = getattr(lstm, f"weight_hh_l{layer}")  # (32, 8), orthonormal columns
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(8), atol=1e-5, rtol=0)
        incoming = getattr(lstm, f"weight_ih_l{layer}")
        bound = (6 / sum(incoming.shape)) ** 0.5
        assert 0.8 * bound < incoming.abs().max() <= bound
        assert getattr(lstm, f"bias_ih_l{layer}").eq(0).all() and getattr(lstm, f"bias_hh_l{layer}").eq(0).all()


def test_dropout_is_on_the_output_only():
    torch.manual_seed(0)
    encoder = LstmEncoder(5, hidden_size=64, dropout=0.5).train()
    sequence, lengths = torch.randn(1, 3, 5), torch.tensor([3])
    dropped = encoder(sequence, lengths)
    whole = encoder.eval()(sequence, lengths)
    kept = dropped != 0
    assert 10 < kept.sum() < 54
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])
