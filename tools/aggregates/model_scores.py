"""How well models foresee real songs: perplexity by kind of event, voice, position, length of the
song and memory, song by song, on part of valid."""

from functools import cached_property

import numpy as np
import torch

from lakhnes_lib import profiles
from lakhnes_lib.evaluation import diagnostics, perplexity
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.language_model import RandomModel, UnigramModel
from lakhnes_lib.models.ngram import NGram, Table, modified_discounts
from lakhnes_lib.music import events, nes

EVERY = 4
"""One song in so many of valid is scored, from the first on."""
SEGMENT, MEMORY = 128, 896
"""Those of ``results/perplexity.json``."""
SHIPPED = ("mini", "transformer_xl")
LENGTHS = (10, 200, 500, 1000, 2000, 4000, 8000, 10**6)
"""Edges of the groups by song length, in events with both ``<S>``."""
MEMORIES, MEMORY_SEGMENT, LATE = (0, 32, 128, 512, 896, 1920, 2048), 32, 2048
"""Lengths of memory, events a call, and how many events of its song stand before a late one."""
MEMORY_EVERY = 16
"""One song in so many, where the memory is varied: each length is another pass."""


class PlainCounts(NGram):
    """Kneser-Ney's formula, but every length has its plain counts, as in notebook 06."""

    @cached_property
    def tables(self) -> list[Table]:
        tables = []
        for length in range(1, self.order + 1):
            keys, counts = (self.get_buffer(f"{kind}_{length}") for kind in ("keys", "counts"))
            seen = [int((counts == number).sum()) for number in (1, 2, 3, 4)]
            tables.append(Table(keys, counts.long(), modified_discounts(seen)))
        return tables


def baselines(train: list[np.ndarray]) -> dict:
    """Models that only count, by name, fitted to these framed songs."""
    targets = torch.from_numpy(np.concatenate([song[1:] for song in train]).astype(np.int64))
    models = {"random": RandomModel(), "unigram": UnigramModel().fit(targets)}
    for order in (2, 3, 4, 5):
        name = f"{order}-gram_kneser_ney"
        models[name] = NGram(order=order, smoothing="kneser_ney").fit(train)
        models[f"{order}-gram_plain_counts"] = PlainCounts(order=order).fit(train)
    models["5-gram_backoff"] = NGram(order=5, smoothing="backoff").fit(train)
    return models


def shipped() -> dict:
    """The networks of ``assets/pretrained``, by name."""
    folder = profiles.root() / "assets" / "pretrained"
    return {name: checkpoints.load(folder / name) for name in SHIPPED}


def scored(models: dict, songs: list[np.ndarray]) -> dict:
    """The scores of every model on these framed songs, by name."""
    settings = {"segment": SEGMENT, "memory_length": MEMORY, "progress": False}
    return {name: perplexity.exact(model, songs, **settings) for name, model in models.items()}


def on_valid(models: dict, split) -> dict:
    """Facts on the perplexity of every model on part of valid."""
    chosen = np.arange(0, len(split), EVERY)
    songs = split.framed()[::EVERY]
    scores = scored(models, songs)
    one = next(iter(scores.values()))
    lengths = np.array([len(songs[index]) for index in one.indices])
    facts = {
        "whole": {
            "description": "Perplexity of each model on every fourth song of valid, by the exact "
            "protocol; that of 5-gram_backoff is no true perplexity, for its probabilities sum to "
            "more than one.",
            "songs": len(one.songs),
            "targets": one.targets,
            "perplexity": {name: each.perplexity for name, each in scores.items()},
        },
    }
    scores = {name: each for name, each in scores.items() if not name.endswith("plain_counts")}
    facts |= {
        "by_kind": grouped(
            "Perplexity by the kind of the event that had to be foreseen.",
            {name: diagnostics.by_kind(each, songs) for name, each in scores.items()},
        ),
        "by_voice": grouped(
            "Perplexity of the note-ons and note-offs of each voice, and of all other events.",
            {name: diagnostics.by_voice(each, songs) for name, each in scores.items()},
        ),
        "note_ons_by_voice": note_ons(scores, songs),
        "by_position": grouped(
            "Perplexity by how many events of its song stand before an event, <S> counted.",
            {name: diagnostics.by_position(each)[1] for name, each in scores.items()},
        ),
        "by_song_length": grouped(
            "Perplexity by the length of the song, in events with both <S>.",
            {name: by_length(each, lengths) for name, each in scores.items()},
        ),
    }
    songs_in = np.histogram(lengths, LENGTHS)[0]
    facts["by_song_length"]["songs"] = songs_in.tolist()
    titles = [split.names[chosen[index]] for index in one.indices]
    facts["by_song"] = by_song(
        "Perplexity song by song on every fourth song of valid.", titles, scores
    )
    return facts


def note_ons(scores: dict, songs: list[np.ndarray]) -> dict:
    """One fact: the note-ons of each voice, without note-offs; songs: those that were scored."""
    voice = np.where(events.IS_NOTE_ON, events.VOICE_OF, len(nes.VOICES))  # the last has no label
    return grouped(
        "Perplexity of the note-ons of each voice, without its note-offs.",
        {n: diagnostics.by_event(each, songs, voice, nes.VOICES) for n, each in scores.items()},
    )


def grouped(description: str, groups: dict) -> dict:
    """One fact of the same groups scored by several models; a group without events has null."""
    one = next(iter(groups.values()))
    numbers = {
        name: [None if np.isnan(value) else float(value) for value in each.perplexity]
        for name, each in groups.items()
    }
    return {
        "description": description,
        "labels": list(one.labels),
        "targets": one.targets.tolist(),
        "perplexity": numbers,
    }


def by_length(scores, lengths: np.ndarray) -> diagnostics.Groups:
    """The scores grouped by the length of their song; lengths: of the scored songs, in events."""
    group = np.searchsorted(LENGTHS, lengths, side="right") - 1
    nats = np.array([-song.sum(dtype=np.float64) for song in scores.songs])
    counts = np.array([len(song) for song in scores.songs])
    names = [f"{low}-{high - 1}" for low, high in zip(LENGTHS[:-2], LENGTHS[1:-1], strict=True)]
    names.append(f"{LENGTHS[-2]} or more")
    targets = np.bincount(group, counts, len(names)).astype(np.int64)
    with np.errstate(invalid="ignore"):
        means = np.bincount(group, nats, len(names)) / targets
    return diagnostics.Groups(tuple(names), targets, means)


def by_song(description: str, names: list[str], scores: dict) -> dict:
    """One fact of perplexities song by song."""
    targets, _ = diagnostics.per_song(next(iter(scores.values())))
    return {
        "description": description,
        "names": names,
        "targets": targets.tolist(),
        "perplexity": {
            model: np.exp(diagnostics.per_song(each)[1]).tolist() for model, each in scores.items()
        },
    }


def memory_reach(models: dict, split) -> dict:
    """One fact: perplexity of some networks against the length of their memory."""
    songs = split.framed()[::MEMORY_EVERY]
    everywhere, late = {}, {}
    for name, model in models.items():
        everywhere[name], late[name] = [], []
        for length in MEMORIES:
            settings = {"segment": MEMORY_SEGMENT, "memory_length": length, "progress": False}
            scores = perplexity.exact(model, songs, **settings)
            everywhere[name].append(scores.perplexity)
            tails = perplexity.Scores([song[LATE - 1 :] for song in scores.songs])
            late[name].append(tails.perplexity)
    return {
        "description": "Perplexity against how many events a model remembers between two calls, "
        "on every sixteenth song of valid: of all events, and of those with at least 2,048 events "
        "of their song before them. In a call the later events also see the earlier ones.",
        "songs": len(scores.songs),
        "late_songs": sum(len(song) >= LATE for song in scores.songs),
        "events_a_call": MEMORY_SEGMENT,
        "memory_length": list(MEMORIES),
        "own_memory_length": {name: model.memory_length for name, model in models.items()},
        "targets": scores.targets,
        "late_targets": tails.targets,
        "perplexity": everywhere,
        "late_perplexity": late,
    }


def ngrams_seen(corpus) -> dict:
    """One fact: how many n-grams of valid and test occur in train."""
    order = 5
    train, others = (NGram(order=order).fit(corpus["train"].framed()), {})
    for name in ("valid", "test"):
        counted = NGram(order=order).fit(corpus[name].framed())
        shares = []
        for length in range(1, order + 1):
            keys = getattr(counted, f"keys_{length}")
            counts = getattr(counted, f"counts_{length}").double()
            seen = torch.isin(keys, getattr(train, f"keys_{length}"))
            shares.append(float(counts[seen].sum() / counts.sum()))
        others[name] = shares
    return {
        "description": "Of the n-grams of valid and test songs, each occurrence counted, the "
        "share that occurs anywhere in train; and how many different ones train has.",
        "n": list(range(1, order + 1)),
        "different_in_train": train.sizes,
        "seen_share": others,
    }


def alone(corpus, names) -> dict:
    """Some facts by name, measured without the others: there is only ``note_ons_by_voice``."""
    wanted = {name: {"note_ons_by_voice": note_ons}[name] for name in names}
    torch.set_num_threads(1)
    models = baselines(corpus["train"].framed()) | shipped()
    models = {name: each for name, each in models.items() if not name.endswith("plain_counts")}
    songs = corpus["valid"].framed()[::EVERY]
    scores = scored(models, songs)
    return {name: function(scores, songs) for name, function in wanted.items()}


def all_facts(corpus) -> tuple[dict, dict]:
    """Every fact of this module by name, and what else the file's head says."""
    torch.set_num_threads(1)
    networks, counting = shipped(), baselines(corpus["train"].framed())
    facts = on_valid(counting | networks, corpus["valid"])
    facts["by_memory"] = memory_reach(networks, corpus["valid"])
    facts["ngrams_seen_in_train"] = ngrams_seen(corpus)
    settings = {
        "protocol": "exact: each song by itself, from a fresh state, every event once",
        "events_a_call": SEGMENT,
        "memory_length": MEMORY,
        "one_valid_song_in": EVERY,
        "threads": 1,
    }
    return facts, {"settings": settings}
