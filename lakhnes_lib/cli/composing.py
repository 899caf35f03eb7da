"""What ``lakhnes generate`` does with pieces while they grow, and when they are ready.

Paper: §8. Notebook: 09_composing.
"""

import sys
from pathlib import Path

from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.cli.options import chosen_device, progress
from lakhnes_lib.errors import BadSetting
from lakhnes_lib.files import interrupts
from lakhnes_lib.generation.auditions import Audition
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score, counted


def voices_of(text: str) -> list[int]:
    """Voice numbers of titles such as ``TR,NO``. Raises BadSetting for another title."""
    titles = [title.strip().upper() for title in text.split(",")]
    for title in titles:
        if title not in nes.VOICES:
            known = ", ".join(nes.VOICES)
            raise BadSetting(f"{text}: {title!r} is no voice; name some of {known}, such as TR,NO")
    return [nes.VOICES.index(title) for title in titles]


def run(steps, out: Path, name: str, caption: str, join: float = 0.0, loop_of=None) -> None:
    """Takes what is composed from ``steps``, one event after another, and saves it in a folder.

    steps: of one of ``generation``'s ways; name: of the files, before a piece's number; join: where
    what is composed begins, in seconds; loop_of: the model, if pieces are to be loops. At Ctrl-C
    what is composed by then is saved; in the middle of saving, all of it.
    """
    # The model is loaded for the first event; a folder that cannot be written is found out next.
    made, interrupted = next(steps), False
    from lakhnes_lib.listening import gallery

    gallery.write_gallery(out)
    bar = tqdm(steps, unit="event", desc="composing", initial=1, disable=not progress())
    try:
        for made in bar:
            if isinstance(made, Audition) and not bar.disable:
                bar.set_postfix_str(str(made), refresh=False)
    except KeyboardInterrupt:
        interrupted, caption = True, caption + ", stopped by Ctrl-C"
    if isinstance(made, Audition):
        print(made)
        caption += f"; {made}"
        made = [*made.pieces, *filter(len, made.growing)]  # growing: at Ctrl-C
    with interrupts("when the pieces are saved"):
        pieces = [piece if isinstance(piece, Score) else events.decode(piece) for piece in made]
        if loop_of is not None:
            pieces = _looped(pieces, loop_of)
        paths = gallery.save_pieces(pieces, out, name, caption, join, loops=loop_of is not None)
        for path, piece in zip(paths, pieces, strict=True):
            print(f"{path}: {piece.seconds:.1f} s, {counted(len(piece.notes))}")
        print(f"{out / 'index.html'} plays them")
    if interrupted:
        raise KeyboardInterrupt


def _looped(pieces: list[Score], model) -> list[Score]:
    from lakhnes_lib.generation import infilling

    reader = infilling.reader_of(model)
    loops = [infilling.loop(reader, piece) for piece in pieces]
    for loop, seam in loops:
        print(f"a loop of {loop.seconds:.1f} s: {seam:.2f} nats of surprise an event at its seam")
    return [loop for loop, _ in loops]


def model(checkpoint: Path, device: str | None):
    """The folder itself, which is read without PyTorch, or its model on a device of the user's."""
    if device in (None, "cpu"):
        return profiles.shipped(checkpoint)
    from lakhnes_lib.models import checkpoints

    return checkpoints.load(checkpoint, chosen_device(device))


def describe_beginning(file: Path, prime, checkpoint: Path, memory: int) -> None:
    """Prints how well the model follows a song's beginning, and whether it can remember it."""
    from lakhnes_lib.generation import continuation
    from lakhnes_lib.models import checkpoints

    perplexity = continuation.perplexity(checkpoints.load(checkpoint), prime, memory)
    shown = f"{perplexity:.2f}" if perplexity > 0 else "not told by so few events"
    print(f"{file}: its perplexity under the model is {shown}")
    if len(prime) > memory:
        message = f"{file}: of {len(prime):,} events the model keeps {memory:,} in mind"
        print(message, file=sys.stderr)
