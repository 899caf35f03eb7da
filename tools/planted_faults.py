"""Plants faults in a copy of the repository, one at a time, and says whether the tests notice.

python tools/planted_faults.py [--only WORD] [--out TABLE.md]

Each fault replaces one piece of code in one file, and names the test files that should fail then.
The repository is copied to a temporary folder; nothing is changed here. Each test file is first run
without a fault, since a test that fails anyway notices nothing. The table goes to stdout, and to
--out. The exit code is 1 if a fault does not fit its file any more, if a test file fails without
a fault, or if fewer than nine in ten faults are noticed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_SECONDS = 900
SHARE_TO_NOTICE = 0.9


@dataclass(frozen=True)
class Fault:
    """what: in words; path: the file, below lakhnes_lib; old: code that is there once; new: what
    stands there instead; tests: names of test files without ``test_`` and ``.py``."""

    what: str
    path: str
    old: str
    new: str
    tests: str


FAULTS = (
    Fault(
        "a wait between two grid values goes to the longer one",
        "music/events.py",
        'np.arange(LONGEST_WAIT + 1), side="left")',
        'np.arange(LONGEST_WAIT + 1), side="right")',
        "events",
    ),
    Fault(
        "a note that begins where another of its voice ends keeps the note-off",
        "music/events.py",
        "(ticks[1:] != ticks[:-1]) | (voices[1:] != voices[:-1])",
        "True",
        "events",
    ),
    Fault(
        "a voice may have two events in one instant",
        "music/grammar.py",
        "later = _VOICES > np.append(_VOICES, -1)[:, None]",
        "later = _VOICES >= np.append(_VOICES, -1)[:, None]",
        "grammar",
    ),
    Fault(
        "the wait before the note-offs of earlier voices is not counted",
        "music/grammar.py",
        "least[:, 4:8] = count[:, None] - 1 + (earlier > 0)",
        "least[:, 4:8] = count[:, None] - 1",
        "grammar",
    ),
    Fault(
        "transposition reaches a semitone less far down",
        "music/augmentation.py",
        "rng.integers(SEMITONES.start, end,",
        "rng.integers(SEMITONES.start + 1, end,",
        "augmentation_draws",
    ),
    Fault(
        "noise types are transposed",
        "music/augmentation.py",
        "np.where(voice == nes.NO, 0, changes",
        "np.where(voice > nes.NO, 0, changes",
        "augmentation",
    ),
    Fault(
        "notes out of a voice's range stay after a transposition",
        "music/augmentation.py",
        "keep = (voice != DROPPED) & nes.has_pitch(voice, pitch) & (end > start)",
        "keep = (voice != DROPPED) & (end > start)",
        "augmentation",
    ),
    Fault(
        "24 assignments of a Lakh song instead of 16",
        "music/filters.py",
        "most_examples: int = 16",
        "most_examples: int = 24",
        "mapping",
    ),
    Fault(
        "an instrument whose notes touch counts as polyphonic",
        "music/filters.py",
        '(notes["start"][1:] >= notes["end"][:-1])',
        '(notes["start"][1:] > notes["end"][:-1])',
        "mapping",
    ),
    Fault(
        "drums never become the highest noise type",
        "music/mapping.py",
        "rng.integers(1, NOISE_TYPES + 1, 128)",
        "rng.integers(1, NOISE_TYPES, 128)",
        "mapping",
    ),
    Fault(
        "every epoch has the same order of songs",
        "data/streams.py",
        "np.random.default_rng([self.seed, self.epoch])",
        "np.random.default_rng([self.seed, 0])",
        "streams",
    ),
    Fault(
        "memory is not forgotten where a row begins a song",
        "data/streams.py",
        "fresh[row] = cursor.left == 0",
        "fresh[row] = False",
        "streams",
    ),
    Fault(
        "a fresh example of a Lakh song is the same in every epoch",
        "data/lakh.py",
        "[int(song.content_hash, 16), seed, turn]",
        "[int(song.content_hash, 16), seed, 0]",
        "lakh",
    ),
    Fault(
        "relative shift by one distance too many",
        "models/transformer_xl.py",
        "return reread[..., 1:, :]",
        "return reread[..., :-1, :]",
        "transformer_xl",
    ),
    Fault(
        "term d of the attention takes u instead of v",
        "models/transformer_xl.py",
        "relative_shift((query + v) @",
        "relative_shift((query + u) @",
        "transformer_xl attention",
    ),
    Fault(
        "an event sees the next one",
        "models/transformer_xl.py",
        ".triu(keys - time + 1)",
        ".triu(keys - time + 2)",
        "transformer_xl",
    ),
    Fault(
        "memory grows without a limit",
        "models/transformer_xl.py",
        "remembered = min(keys, memory_length)",
        "remembered = keys",
        "transformer_xl",
    ),
    Fault(
        "the LSTM's output has no dropout",
        "models/lstm.py",
        "return self.dropout(x), Cells(",
        "return x, Cells(",
        "lstm",
    ),
    Fault(
        "a key is not handed on to the next event",
        "models/modern_block.py",
        "torch.cat([first, still[:, :, :-1]], 2)",
        "still",
        "modern_decoder",
    ),
    Fault(
        "shorter n-grams of Kneser and Ney keep their plain counts",
        "models/ngram.py",
        "torch.where(preceding > 0, preceding, counts)",
        "torch.where(preceding < 0, preceding, counts)",
        "ngram",
    ),
    Fault(
        "gradients are not clipped",
        "training/learner.py",
        "clip_grad_norm_(self.model.parameters(), self.settings.clip)",
        'clip_grad_norm_(self.model.parameters(), float("inf"))',
        "training_steps",
    ),
    Fault(
        "memory is not carried from segment to segment",
        "training/learner.py",
        "self.states[part] = state if has_memory else None",
        "self.states[part] = None",
        "training_steps",
    ),
    Fault(
        "weights do not decay",
        "training/optimisers.py",
        "kind(model.parameters(), lr=rate, weight_decay=decay)",
        "kind(model.parameters(), lr=rate, weight_decay=0.0)",
        "optimisers",
    ),
    Fault(
        "Muon has half of its momentum",
        "training/optimisers.py",
        "MOMENTUM = 0.95",
        "MOMENTUM = 0.475",
        "optimisers",
    ),
    Fault(
        "early stopping waits for one more evaluation",
        "training/trainer.py",
        "self.since_best >= self.settings.patience",
        "self.since_best > self.settings.patience",
        "training",
    ),
    Fault(
        "the exact protocol forgets each segment",
        "evaluation/perplexity.py",
        "ids[:rows, columns], targets[:rows, columns], state,",
        "ids[:rows, columns], targets[:rows, columns], None,",
        "evaluation",
    ),
    Fault(
        "a stream of the paper's protocol takes its next song too early",
        "evaluation/perplexity.py",
        "while unread[row].shape[1] < segment:",
        "while unread[row].shape[1] <= segment:",
        "protocols",
    ),
    Fault(
        "the repetition of phrases is counted across voices",
        "evaluation/musical_metrics.py",
        'line = song * len(nes.VOICES) + notes["voice"]',
        "line = song * len(nes.VOICES)",
        "musical_metrics",
    ),
    Fault(
        "the n-gram counts the first <S> of each song as predicted",
        "models/ngram.py",
        "counts[grams == START] -= len(songs)",
        "counts[grams == START] -= 0",
        "ngram",
    ),
    Fault(
        "temperature has no effect",
        "generation/sampling.py",
        "weights = np.exp((logits - greatest) / temperature)",
        "weights = np.exp(logits - greatest)",
        "generation",
    ),
    Fault(
        "top-k draws from one event more",
        "generation/sampling.py",
        "[:, :top_k]",
        "[:, : top_k and top_k + 1]",
        "generation",
    ),
    Fault(
        "composing keeps the model's own memory, whatever was asked for",
        "generation/decoding.py",
        "ids, self.state, memory_length=self.memory_length",
        "ids, self.state, memory_length=None",
        "generation decoding",
    ),
    Fault(
        "fades of the study's clips are a hundred times longer",
        "study/clips.py",
        "FADE = 0.005",
        "FADE = 0.5",
        "study_clips",
    ),
)


def copy_repository(target: Path) -> None:
    """Copies every file that is or would be committed."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    command.append("--exclude-standard")
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run_tests(copy: Path, names: list[str]) -> tuple[bool, float]:
    """Whether all tests of these files pass in the copy, and the seconds they took."""
    files = [f"tests/test_{name}.py" for name in names]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *files]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    begin = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False, time.monotonic() - begin
    return done.returncode == 0, time.monotonic() - begin


def plant(copy: Path, fault: Fault) -> str | None:
    """Puts the fault into the copy and returns the file's text before; None if it does not fit."""
    path = copy / "lakhnes_lib" / fault.path
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(fault.old) != 1:
        return None
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults with this word in file or description")
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    chosen = parser.parse_args()
    faults = [fault for fault in FAULTS if chosen.only in f"{fault.path} {fault.what}"]
    lines = ["| fault | file | tests | noticed | seconds |", "| --- | --- | --- | --- | --- |"]
    noticed, wrong = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copy_repository(copy)
        for name in sorted({name for fault in faults for name in fault.tests.split()}):
            passes, seconds = run_tests(copy, [name])
            if not passes:
                wrong += 1
                print(f"tests/test_{name}.py fails without a fault", file=sys.stderr, flush=True)
        for fault in faults:
            before = plant(copy, fault)
            if before is None:
                wrong += 1
                result = "does not fit the file", "-"
            else:
                passes, seconds = run_tests(copy, fault.tests.split())
                (copy / "lakhnes_lib" / fault.path).write_text(before, encoding="utf-8")
                noticed += not passes
                result = "**no**" if passes else "yes", f"{seconds:.0f}"
            row = f"| {fault.what} | `{fault.path}` | {fault.tests} | {' | '.join(result)} |"
            lines.append(row)
            print(row, flush=True)
    lines.append(f"\n{noticed} of {len(faults)} noticed.")
    print(lines[-1])
    if chosen.out:
        chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(wrong > 0 or noticed < SHARE_TO_NOTICE * len(faults))


if __name__ == "__main__":
    sys.exit(main())
