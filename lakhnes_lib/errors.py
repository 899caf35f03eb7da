"""Every error that a user can cause, as one small tree.

Messages are one sentence that names the file, the position in it, and the rule that was broken.
The command line prints them as they are and exits with 1, or 2 for BadSetting; nothing else is
caught there.
"""

import reprlib


class LakhnesError(Exception):
    """Base of all errors that this library raises on bad input.

    >>> import lakhnes_lib as nes
    >>> try:
    ...     nes.read("song.mp3")
    ... except nes.LakhnesError as error:
    ...     print(error)
    song.mp3: its ending is none of those that can be read as music (...)
    """


class BadSetting(LakhnesError):
    """An argument out of its range: what is asked for is wrong, not the data."""


class BadScore(LakhnesError):
    """Notes that four monophonic voices cannot play."""


class BadMidi(LakhnesError):
    """A MIDI file that cannot be read, or is not in NES-MDB's form."""


class Rejected(LakhnesError):
    """A MIDI file from which the mapping makes no NES music.

    reason: a short key, the same in every version (``lakhnes_lib.music.filters.REASONS``), by which
    files are counted.
    """

    def __init__(self, reason: str, message: str = ""):
        super().__init__(message or reason)
        self.reason = reason


class BadEvents(LakhnesError):
    """Event ids or event text that break the vocabulary or the grammar."""


class BadAudio(LakhnesError):
    """A sound that cannot be rendered or written, or a VGM file that cannot be read."""


class BadCorpus(LakhnesError):
    """A packed corpus that is incomplete, changed or of another version."""


class BadCheckpoint(LakhnesError):
    """A checkpoint folder that is incomplete, foreign or damaged."""


class BadProfile(LakhnesError):
    """A profile with an unknown key, a wrong type or an impossible value."""


class BadArchive(LakhnesError):
    """A download or archive that is truncated, hostile or not what the registry says."""


class DataNotFound(LakhnesError):
    """Data or a checkpoint that is not on this machine; the message says how to get it."""


class OutOfSpace(LakhnesError):
    """The disk is full; what had been written of the unfinished file has been removed."""


class BadStudy(LakhnesError):
    """A listening test that cannot be made, is damaged, or whose answers cannot be used."""


_RULES = {"missing": "is missing", "extra_forbidden": "is not known"}


def first_problem(error) -> str:
    """The first fault that a ``pydantic.ValidationError`` names, as "position: rule, not value".

    Example: "training: small: steps: must be greater than or equal to 1, not 0". Of any other error
    it is the message.
    """
    if not hasattr(error, "errors"):
        return str(error)
    problem = error.errors(include_url=False)[0]
    path, kind = list(problem["loc"]), problem["type"]
    if path[-1:] == ["[key]"]:
        path.pop()
        rule = "a key must be text"
    elif kind in _RULES:
        rule = _RULES[kind]
    elif kind == "value_error":
        rule = str(problem["ctx"]["error"])
    elif kind in ("model_type", "dict_type"):
        rule = f"must be a table of values, not {reprlib.repr(problem['input'])}"
    else:
        rule = problem["msg"].replace("Input should", "must").replace("String should", "must")
        rule += f", not {reprlib.repr(problem['input'])}"
    return ": ".join([*map(str, path), rule])
