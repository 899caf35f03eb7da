"""Every error that a user can cause, as one small tree.

Messages are one sentence that names the file, the place and the rule that was broken.
The command line prints them as they are and exits with 1, or 2 for BadSetting; nothing else is caught there.
"""


class LakhnesError(Exception):
    """Base of all errors that this library raises on bad input."""


class BadSetting(LakhnesError):
    """An argument out of its range: what is asked for is wrong, not the data."""


class BadScore(LakhnesError):
    """Notes that four monophonic voices cannot play."""


class BadMidi(LakhnesError):
    """A MIDI file that cannot be read, or is not in NES-MDB's form."""


class Rejected(LakhnesError):
    """A MIDI file from which the mapping makes no NES music.

    reason: a short key, the same in every version (``lakhnes_lib.music.mapping.REASONS``), to count files by.
    """

    def __init__(self, reason: str, message: str = ""):
        super().__init__(reason, message)
        self.reason = reason

    def __str__(self) -> str:
        return self.args[1] or self.reason


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
