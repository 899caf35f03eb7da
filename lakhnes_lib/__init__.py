"""LakhNES: multi-instrumental music generation with cross-domain pre-training.

A library beside the numbered notebooks, after Donahue, Mao, Li, Cottrell and McAuley, "LakhNES:
Improving multi-instrumental music generation with cross-domain pre-training", ISMIR 2019.

``import lakhnes_lib as nes`` gives the whole library on one page, the names below. Each is loaded
from its module when it is first used, so that importing the library takes no time. In Python,
``help(nes.sample)`` explains a name, with an example.

    import lakhnes_lib as nes

    song = nes.read("assets/songbook/greensleeves.abc")      # MIDI, TX1 text, VGM or ABC: a Score
    model = nes.load_model("assets/pretrained/mini")
    beginning = nes.cut(song, seconds=8)
    pieces = nes.sample(model, n=2, length=200, seed=1, prime=beginning)
    nes.write(nes.decode(pieces[0]), "piece.wav")             # or .mid, .vgm, .tx1.txt
"""

import os
from importlib import import_module

__version__ = "0.1.0"

# How long a thread of PyTorch's OpenMP (GNU's) turns in a loop before it sleeps. By default it does
# so for milliseconds, which makes two threads ten times slower than one while another program runs
# on one of two cores; with this number they are a third slower, and as fast as before otherwise.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_MODULES = {
    # Music (paper, sections 3, 4.2.1, 5.1)
    "Score": "music.score",
    "encode": "music.events",
    "decode": "music.events",
    "frame": "music.events",
    "map_to_nes": "music.mapping",
    "transpose": "music.augmentation",
    "change_speed": "music.augmentation",
    # Files and sound (section 3.1)
    "read": "data.build:read_song",
    "read_any": "data.build",
    "write": "sound.song_files:write_song",
    "render": "sound.apu",
    # Data (sections 3, 4.2)
    "load_corpus": "data.corpora:prepare",
    # Models and training (sections 4.1, 5)
    "load_model": "models.checkpoints:load",
    "save_model": "models.checkpoints:save",
    "load_profile": "profiles:load",
    "train": "training.trainer",
    # Evaluation (section 6)
    "perplexity": "evaluation.perplexity",
    "measure": "evaluation.musical_metrics",
    # Composing (section 8)
    "cut": "generation.continuation",
    "sample": "generation.sampling",
    # Listening
    "listen": "listening.player",
    "compare": "listening.player",
    # What goes wrong
    "LakhnesError": "errors",
}
"""Each public name -> its module; after a colon, what it is called there, where that differs."""

__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str):
    """Loads a public name from its module when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = _MODULES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, for tab completion and ``help``."""
    return sorted({*globals(), *_MODULES})
