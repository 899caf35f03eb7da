"""Complementary tracks: a bass to a piano and a piano to a bass, measured as in the thesis."""

import numpy as np
import torch
from _complementary_measures import chords, onset_rows, rhythm, tonality
from _complementary_parts import DRAWING, HEARD, composed, drawn, usual_density, when_asked

from lakhnes_lib.companions import accompanying, band_parts
from lakhnes_lib.companions.paired_parts import BAR

PIECES = 300  # of valid, to which a part is composed


def measure_band(model, task, seed: int) -> dict:
    """The analyses of the thesis (its Figures 14 to 17 and Table 2), of both ways to draw."""
    pairs, usual, bars = drawn(task, PIECES), usual_density(task), task.bars
    within = lambda part: part[part[:, 0] < bars * BAR]  # noqa: E731
    given = [within(task.part(source)) for source, _ in pairs]
    real = [within(task.part(target)) for _, target in pairs]
    real_rows = np.concatenate([onset_rows(part, bars) for part in real])
    values = {"usual_density": usual, "valid_loss": accompanying.valid_loss(model, task, 16)}
    random = np.random.default_rng(seed)
    for way in ("real", *DRAWING):
        made = real
        if way != "real":
            ids = composed(model, task, pairs, DRAWING[way], usual, seed)
            made = [within(task.part(target)) for target in ids]
        rows = np.concatenate([onset_rows(part, bars) for part in made])
        values[way] = {
            "rhythm": rhythm(real_rows, rows, random),
            "tonality": tonality(given, made),
            "chords": chords(given, made, bars),
            "silent_pieces": float(np.mean([not len(part) for part in made])),
            "silent_bars": float((~rows.any(1)).mean()),
            "notes_a_bar": float(np.mean([len(part) for part in made]) / bars),
        }
    values["resting"] = resting(model, task)
    values["asked"] = when_asked(model, task, seed)
    values["snippet"] = on_snippet(model, task, usual, seed)
    return values


@torch.inference_mode()
def resting(model, task, count: int = 200) -> list[float]:
    """Mean probability that no further note comes in a bar, wherever that is possible in targets of
    valid: of all tokens, and of the three likeliest."""
    random, means = np.random.default_rng(0), []
    first = [(task.base([token]) or [0])[0] for token in range(task.vocabulary)]
    rests = torch.tensor([base == 4 for base in first])
    rests[task.end] = True
    for _ in range(count):
        source, target = task.draw("valid", random)
        logits = model(accompanying.padded([source]), torch.tensor([target[:-1]]))[0]
        last = [(task.base([token]) or [0])[-1] for token in target[:-1]]
        free = torch.tensor([base == 4 or 101 <= base < 165 for base in last])
        if free.any():
            p = logits[free].softmax(-1)
            highest, tokens = p.topk(3)
            top = (highest * rests[tokens]).sum(-1) / highest.sum(-1)
            means.append((float(p[:, rests].sum(-1).mean()), float(top.mean())))
    return np.mean(means, axis=0).tolist()


def progression(bars: int) -> list[np.ndarray]:
    """Piano and bass of I-V-vi-IV in B flat, a chord a bar; notebook 10 explains it."""
    roots, piano, bass = (46, 41, 43, 39), [], []
    chords = (62, 65, 70), (60, 65, 69), (62, 67, 70), (63, 67, 70)
    for bar in range(bars):
        root, chord = roots[bar % 4], chords[bar % 4]
        for time in (BAR * bar, BAR * bar + 16):
            piano += [(time, 16, pitch, 79) for pitch in chord]
            bass += [(time, 12, root, 79), (time + 12, 4, root, 79)]
        above = chord[-1] + (1 if root == 41 else 2)  # the next note of B flat major
        piano.append((BAR * bar + 28, 4, above, 79))
    return [np.array(sorted(part)) for part in (piano, bass)]


def on_snippet(model, task, usual: dict, seed: int) -> dict:
    """The progression of the thesis's Figure 18, as many bars of it as a piece has."""
    given = progression(task.bars)[1 - task.target]
    source = band_parts.tokens_of(task.tokenizer, given)
    values = {}
    for way, drawing in DRAWING.items():
        pairs = [(source, [task.vocabulary])] * 20
        ids = composed(model, task, pairs, drawing, usual, seed)
        made = [task.part(target) for target in ids]
        made = [part[part[:, 0] < task.bars * BAR] for part in made]
        values[way] = {"chords": chords([given] * len(made), made, task.bars)}
        values[way]["composed"] = [part.tolist() for part in made[:HEARD]]
    return values
