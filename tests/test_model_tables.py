"""Tables of hours of training, of averages at scoring time and of the modern decoder's size."""

import math

import model_tables
import numpy as np
import pytest
import scoring_time

from lakhnes_lib.music import events


def test_a_key_moves_pitched_voices_and_leaves_the_rest():
    ids, has_one = scoring_time.transposed(2)
    names = np.array(events.VOCABULARY)
    of = {name: names[ids[index]] for index, name in enumerate(names) if has_one[index]}
    assert of["P1_NOTEON_60"] == "P1_NOTEON_62" and of["TR_NOTEON_21"] == "TR_NOTEON_23"
    assert all(of[name] == name for name in ("<S>", "WT_7", "NO_NOTEON_3", "P2_NOTEOFF"))
    assert set(names[~has_one]) == {
        f"{v}_NOTEON_{p}" for v in ("P1", "P2", "TR") for p in (107, 108)
    }
    assert (scoring_time.transposed(0)[0] == np.arange(631)).all()
    assert sorted(key % 12 for key in scoring_time.KEYS) == list(range(12))


def test_an_average_counts_a_key_until_a_note_leaves_its_range():
    high, low = (events.VOCABULARY.index(f"P1_NOTEON_{pitch}") for pitch in (108, 60))
    song = np.array([0, low, high, low, *[5] * 8, 0], np.uint16)
    own, other = (np.full(len(song) - 1, math.log(p), np.float32) for p in (0.5, 0.1))
    (mean,) = scoring_time.averaged([[own], [other]], [0, 1], [song])
    # Both keys, then a note that one of them has not, then the song's own key alone.
    expected = [0.3, 0.25, *[0.5] * (len(song) - 3)]
    assert np.exp(mean) == pytest.approx(expected)


def test_scoring_time_stands_beside_the_best_model_alone(monkeypatch):
    def score(perplexity, readings=1):
        return {"exact": perplexity, "nats": math.log(perplexity), "readings": readings}

    rows = {
        "mini": {"valid": score(4.0), "test": score(3.0)},
        "mini, twelve keys": {"test": score(2.7, 12)},
        "paper_size": {"test": score(2.5)},
        "mini and paper_size": {"valid": score(2.0, 2), "test": score(2.25, 2)},
    }
    monkeypatch.setattr(model_tables, "value", lambda path: rows)
    alone, keys, _, both = model_tables.scoring_time()
    assert alone == ("mini", "1", "4.000", "3.000", "–")
    assert keys == ("mini, twelve keys", "12", "–", "2.700", f"{math.log(0.9):+.3f}")
    assert both == ("mini and paper_size", "2", "2.000", "2.250", f"{math.log(0.9):+.3f}")


def test_sizes_stand_beside_the_same_seed_of_minis(monkeypatch):
    def run(perplexity, parameters):
        return {"valid_perplexity": perplexity, "parameters": parameters, "minutes": perplexity}

    runs = {
        "mini": {"0": run(8.0, 5_400_000), "1": run(10.0, 5_400_000)},
        "wider": {"1": run(9.0, 8_200_000)},
    }
    monkeypatch.setattr(model_tables, "value", lambda path: runs)
    of_mini, wider = model_tables.sizes()
    assert of_mini == ("mini", "5.4 M", "9.00 ± 1.41", "+0.000, +0.000", "8")
    assert wider == ("wider", "8.2 M", "9.00", f"{math.log(0.9):+.3f}", "9")


def test_hours_count_the_model_before(monkeypatch):
    def entry(events, **splits):
        scores = {split: {"exact": exact} for split, exact in splits.items()}
        return {"events": events, "minutes": events / 1e6, "parameters": 5_300_000} | scores

    models = {"laptop/lstm_hours": entry(20_000_000, valid=30.0)}
    models["laptop/transformer_xl_hours_end"] = entry(10_200_000, valid=4.0, test=3.5)
    models["laptop/transformer_xl_hours_lakh"] = entry(40_000_000, valid=4.0, test=3.0)
    models["transformer_xl"] = entry(30_100_000)
    monkeypatch.setattr(model_tables.reproduction, "measured", lambda: models)
    of_lstm, on = model_tables.longer()  # what came before the row after Lakh is not measured
    assert of_lstm == ("LSTM", "5.3 M", "20.0 M", "20", "30.000", "–")
    assert on[2:] == ("30.1 M + 10.2 M", "30 (H200) + 10", "4.000", "3.500")
