"""Composing with a language model (§8): ``sample`` makes pieces, ``stream`` goes step by step."""

from lakhnes_lib.generation.sampling import sample, stream

__all__ = ["sample", "stream"]
