"""What all language models share, seen on the two simplest: random and unigram."""

import math

import pytest
import torch

from lakhnes_lib.errors import BadEvents
from lakhnes_lib.models.language_model import RandomModel, UnigramModel, check_ids

IDS = torch.tensor([[0, 3, 1], [2, 2, 0]])


def unigram() -> UnigramModel:
    return UnigramModel(4, smoothing=0.5).fit(torch.tensor([[1, 1, 3], [1, 0, 3]]))


@pytest.mark.parametrize("memory_length", [None, 0, 7])
def test_they_give_the_same_whatever_came_before(memory_length):
    expected = {RandomModel(4): [0.25] * 4, unigram(): [1.5 / 8, 3.5 / 8, 0.5 / 8, 2.5 / 8]}
    for model, shares in expected.items():
        log_probs, state = model.log_probs(IDS, memory_length=memory_length)
        assert log_probs.shape == (2, 3, 4) and log_probs.dtype == torch.float32 and state is None
        torch.testing.assert_close(log_probs.exp(), torch.tensor(shares).expand(2, 3, 4))
        assert model.select(state, torch.tensor([1])) is model.restart(state, IDS[:, 0] > 0) is None


def test_targets_are_picked_and_those_below_0_are_none():
    targets = torch.tensor([[3, -1, 0], [2, 1, -100]])
    scores, _ = unigram().target_log_probs(IDS, targets)
    shares = torch.tensor([[2.5, 8, 1.5], [0.5, 3.5, 8]]) / 8
    torch.testing.assert_close(scores, shares.log())
    scores, _ = RandomModel().target_log_probs(IDS, targets, memory_length=3)
    assert scores[0, 0].item() == pytest.approx(-math.log(631)) and scores[0, 1] == 0


def test_more_counts_are_added():
    model = unigram().fit(torch.tensor([2, 2]))
    assert model.counts.tolist() == [1, 3, 2, 2] and model.parameter_count() == 4
    assert type(model)(**model.config).smoothing == 0.5


@pytest.mark.parametrize("model", [RandomModel(4), unigram()], ids=["random", "unigram"])
@pytest.mark.parametrize("ids", [[[0, 4]], [[-1]], [0, 1], [[0.0]]], ids=str)
def test_ids_out_of_range_are_refused(ids, model):
    with pytest.raises(BadEvents):
        model.log_probs(torch.tensor(ids))


def test_no_ids_are_fine():
    check_ids(torch.zeros(3, 0, dtype=torch.int64))
