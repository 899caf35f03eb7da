"""The exercises of notebooks 04, 05 and 06: what their checks need, and answers that are wrong."""

from collections import Counter, defaultdict
from difflib import SequenceMatcher
from functools import partial
from itertools import pairwise
from math import exp, inf, log, sqrt

import numpy as np
import torch
import torch.nn.functional as F
from exercises import Lesson

from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.data.streams import Streams
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.models import transformer_xl
from lakhnes_lib.models.ngram import NGram
from lakhnes_lib.models.transformer_xl import TransformerXL
from lakhnes_lib.music import augmentation, events


def transformer_names() -> dict:
    song = np.random.default_rng(1).integers(0, 631, 100)
    names = {"draw": np.random.default_rng(0), "song": song, "nn": torch.nn}
    names |= {"TransformerXL": TransformerXL, "transformer_xl": transformer_xl}
    return names


def training_names() -> dict:
    return {"Streams": Streams, "augmentation": augmentation}


def baseline_names() -> dict:
    corpus = prepare("songbook")
    chosen = corpus["train"].framed()
    by_hand = [song.tolist() for song in chosen]
    counts = Counter(event for song in by_hand for event in song[1:])
    after = defaultdict(Counter)
    for song in by_hand:
        for a, b in pairwise(song):
            after[a][b] += 1
    names = {"chosen": chosen, "by_hand": by_hand, "after": after, "counts": counts}
    names |= {"total": sum(counts.values()), "test": corpus["test"].framed()}
    names |= {"NGram": NGram, "perplexity": perplexity}
    names |= {"Counter": Counter, "defaultdict": defaultdict}
    for name, smoothing in (("five", "kneser_ney"), ("backed_off", "backoff")):
        names[name] = NGram(smoothing=smoothing).fit(chosen)
    return names


PUBLIC = {"np": np, "torch": torch, "F": F, "events": events}
PUBLIC |= {"exp": exp, "log": log, "sqrt": sqrt, "inf": inf}


def uniform_shares(looked, batch):
    return torch.full(looked.shape[:1] + looked.shape[2:3], 0.5, dtype=torch.float64)


def own_pairs(batch):
    """bool (windows, 1, queries, keys): a note-on's query and a key of its voice; how many ask."""
    voice, asks = torch.as_tensor(events.VOICE_OF)[batch], torch.as_tensor(events.IS_NOTE_ON)[batch]
    own = (voice[:, :, None] == voice[:, None, :]) & asks[:, :, None]
    return own[:, None], asks.sum()


def strongest_own(looked, batch):
    own, asking = own_pairs(batch)
    return ((looked == looked.amax(-1, keepdim=True)) * own).sum((1, 3, 4)) / asking


def counted_own(looked, batch):
    own, asking = own_pairs(batch)
    return ((looked > 0.5) * own).sum((1, 3, 4)) / asking


def greatest_own(looked, batch):
    own, asking = own_pairs(batch)
    return (looked * own).amax(-1).sum((1, 3)) / asking


def own_by_einsum(looked, batch):
    """Right, and of the type of ``looked``, which in the lesson is float32."""
    own, asking = own_pairs(batch)
    return torch.einsum("lwhqk,wqk->lh", looked, own[:, 0].float()) / asking


def bits_in_float32(losses, seconds):
    return torch.tensor(losses).sum().item() / log(2) / seconds


def each_clipped(gradients, limit):
    return [g * min(1.0, limit / float(g.norm())) for g in gradients]


def clipped_in_place(gradients, limit):
    """The right lengths, but the gradients that were handed over are changed."""
    shrink = min(1.0, limit / float(torch.cat([each.ravel() for each in gradients]).norm()))
    return [each.mul_(shrink) for each in gradients]


def clipped_with_an_axis_more(gradients, limit):
    shrink = min(1.0, limit / float(torch.cat([each.ravel() for each in gradients]).norm()))
    return [shrink * each[None] for each in gradients]


def clipped_as_arrays(gradients, limit):
    return [each[0].numpy() for each in clipped_with_an_axis_more(gradients, limit)]


def forgetful_plateau(losses, rate):
    """At each halving the best loss is forgotten, and the present one taken for it."""
    rates, best, waiting = [], inf, 0
    for loss in losses:
        rates.append(rate)
        best, waiting = (loss, 0) if loss < best else (best, waiting + 1)
        if waiting == 2:
            rate, best, waiting = rate / 2, loss, 0
    return rates


def unshift_in_float32(scores):
    time, keys = scores.shape
    answer = torch.zeros(time, keys)
    for i in range(time):
        answer[i, time - 1 - i :] = scores[i, : keys - time + i + 1]
    return answer


def mass_by_membership(a, after, counts, total):
    """Its look-ups put an empty entry into ``after`` for an event that nothing followed."""
    share = 1 if a in after else 0
    unseen = (b for b in range(631) if not after[a][b])
    return share + sum(counts[b] / total if counts[b] else 1 / 631 for b in unseen)


def unshift_by_pairs(scores):
    """Right, but by a loop over pairs, which the exercise rules out."""
    time, keys = scores.shape
    answer = torch.zeros(time, keys, dtype=scores.dtype)
    for i in range(time):
        for j in range(keys - time + i + 1):
            answer[i, time - 1 - i + j] = scores[i, j]
    return answer


def unshift_in_lists(scores):
    """The same in lists: three questions to torch, and a line for each pair."""
    (time, keys), rows = scores.shape, scores.tolist()
    answer = [[0.0] * keys for _ in rows]
    for i in range(time):
        for j in range(keys - time + i + 1):
            answer[i][time - 1 - i + j] = rows[i][j]
    return torch.tensor(answer)


def unshift_in_one_line(scores):
    """A loop over pairs in a comprehension."""
    (time, keys), rows = scores.shape, scores.tolist()
    first = [time - 1 - i for i in range(time)]
    return torch.tensor(
        [
            [row[j - a] if j >= a else 0 for j in range(keys)]
            for row, a in zip(rows, first, strict=True)
        ]
    )


def unshift_by_gather(scores):
    time, keys = scores.shape
    index = torch.arange(keys) - torch.arange(time - 1, -1, -1)[:, None]
    return scores.gather(1, index.clamp(min=0)).masked_fill(index < 0, 0)


def unshift_by_indices(scores):
    """All pairs at once, into a tensor of the type that the exercise names."""
    time, keys = scores.shape
    rows, there = torch.tril_indices(time, keys, keys - time)
    answer = torch.zeros_like(scores)
    answer[rows, there + time - 1 - rows] = scores[rows, there]
    return answer


def chain_of_groups(n, ids, songs):
    """The longest run whose groups of n stand anywhere in training, and not one after the other."""
    known = {tuple(song[i : i + n]) for song in songs for i in range(len(song) - n + 1)}
    longest = run = 0
    for i in range(len(ids) - n + 1):
        run = run + 1 if tuple(ids[i : i + n]) in known else 0
        longest = max(longest, run + n - 1 if run else 0)
    return longest


def greedy_copy(ids, songs):
    """Once a run has ended, the search goes on behind it."""
    longest, at = 0, 0
    while at < len(ids):
        length = 0
        while at + length < len(ids):
            part = ids[at : at + length + 1]
            if not any(
                part == song[i : i + length + 1] for song in songs for i in range(len(song))
            ):
                break
            length += 1
        longest, at = max(longest, length), at + max(length, 1)
    return longest


def copy_by_difflib(ids, songs):
    """In long songs difflib leaves out what is frequent."""
    matches = (SequenceMatcher(None, ids, song).find_longest_match() for song in songs)
    return max(match.size for match in matches)


def copy_in_joined_text(ids, songs):
    """Event 1 is found in 11."""
    texts, n = [" ".join(map(str, song)) for song in songs], len(ids)
    parts = ((i, j) for i in range(n) for j in range(i + 1, n + 1))
    sizes = (j - i for i, j in parts if any(" ".join(map(str, ids[i:j])) in t for t in texts))
    return max(sizes, default=0)


def by_better_model(p, q):
    return float(np.log(p).mean() > np.log(q).mean())


WRONG = {
    "04_transformer_xl": {
        "reach_of": (
            lambda layers, segment, memory: segment + memory,
            lambda layers, segment, memory: layers * (segment + memory),
            lambda layers, segment, memory: layers * segment + memory,
        ),
        "window_mask": (
            lambda time, most: torch.zeros(time, time),
            lambda time, most: transformer_xl.causal_mask(time, time)[0],
        ),
        "count_parameters": (
            lambda vocabulary_size, layers, width, heads, head_width, feed_forward: 41_274_487,
        ),
        "unshift": (
            lambda scores: scores,
            lambda scores: scores.flip(1),
            unshift_by_pairs,
            unshift_in_lists,
            unshift_in_one_line,
        ),
        "own_voice_share": (uniform_shares, strongest_own, counted_own, greatest_own),
    },
    "05_training": {
        "factor": (1.08, 0.1, exp(1.25), 1.106, 1.1045),
        "bits_a_second": (
            lambda losses, seconds: sum(losses) / seconds,
            lambda losses, seconds: sum(losses) / len(losses) / log(2) / seconds,
            lambda losses, seconds: sum(losses) * log(2) / seconds,
            lambda losses, seconds: sum(losses) / 0.693 / seconds,
        ),
        "clip": (
            each_clipped,
            clipped_in_place,
            clipped_with_an_axis_more,
            lambda gradients, limit: [torch.zeros(2)] * 2,
            lambda gradients, limit: gradients,
            lambda gradients, limit: gradients[:1],
        ),
        "steps_an_epoch": (
            lambda lengths, batch, segment: sum(lengths) // (batch * segment),
            lambda lengths, batch, segment: sum(-(-n // segment) for n in lengths) // batch,
        ),
        "untouched": (1 / 4, 1 / 2, 0.28),
        "plateau": (
            lambda losses, rate: [rate] * len(losses),
            lambda losses, rate: [rate] * (len(losses) + 1),
            forgetful_plateau,
        ),
    },
    "06_baselines": {
        "shortest": (631**5, 5 * 631**5),
        "mass_after": (
            lambda a, after, counts, total: 1.0,
            lambda a, after, counts, total: 1 + (631 - len(after[a])) / 631,
        ),
        "honest_perplexity": (
            lambda model, song: perplexity.exact(model, [song], progress=False).perplexity,
            lambda model, song: None,
        ),
        "best_share": (lambda p, q: 0.5, by_better_model),
        "longest_copy": (
            lambda ids, songs: 37,
            lambda ids, songs: len(ids),
            partial(chain_of_groups, 2),
            partial(chain_of_groups, 3),
            greedy_copy,
            copy_by_difflib,
            copy_in_joined_text,
        ),
    },
}
CHECKS = {
    "04_transformer_xl": {
        "reach_of": "is_reach",
        "window_mask": "is_window",
        "count_parameters": "is_count",
        "unshift": "is_unshift",
        "own_voice_share": "is_own_voice",
    },
    "05_training": {
        "factor": "is_factor",
        "bits_a_second": "is_bits",
        "clip": "is_clip",
        "steps_an_epoch": "is_epoch",
        "untouched": "is_untouched",
        "plateau": "is_plateau",
    },
    "06_baselines": {
        "shortest": "is_shortest",
        "mass_after": "is_mass",
        "honest_perplexity": "is_honest",
        "best_share": "is_best_share",
        "longest_copy": "is_copy",
    },
}
RIGHT = {
    "04_transformer_xl": {
        "unshift": (
            unshift_in_float32,
            lambda scores: unshift_in_float32(scores).numpy(),
            unshift_by_gather,
            unshift_by_indices,
        ),
        "own_voice_share": (own_by_einsum,),
    },
    "05_training": {"bits_a_second": (bits_in_float32,), "clip": (clipped_as_arrays,)},
    "06_baselines": {"mass_after": (mass_by_membership, mass_by_membership)},  # run twice
}
TRANSFORMER_FUNCTIONS = ("random", "toy_model", "influence", "shift_by_loop")
GIVEN = {
    "04_transformer_xl": (transformer_names, TRANSFORMER_FUNCTIONS),
    "05_training": (training_names, ()),
    "06_baselines": (baseline_names, ("windows",)),
}


def lesson_of(name: str) -> Lesson:
    names, functions = GIVEN[name]
    given = {"functions": functions, "right": RIGHT.get(name, {})}
    return Lesson(name, CHECKS[name], WRONG[name], lambda: PUBLIC | names(), PUBLIC.copy, **given)


LESSONS = [lesson_of(name) for name in WRONG]
