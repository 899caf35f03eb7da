"""Composing with a language model (§8): ``sample`` makes pieces, ``stream`` goes step by step."""


def __getattr__(name: str):
    if name in ("sample", "stream"):
        from lakhnes_lib.generation import sampling

        return getattr(sampling, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
