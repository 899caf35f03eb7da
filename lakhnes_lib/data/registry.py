"""What there is to download: every published artefact, with address, hash, licence and citation.

Paper: §3.1 (NES-MDB), §4.2 (Lakh MIDI), §6 (checkpoints). Notebook: 07_quantitative_analysis takes the checkpoints.
Differences from the paper: none in content. The fingerprints are ours: they tell whether an unpacked folder holds
the published files whichever way it was packed, so that a mirror's archive is as good as the official one.
"""

from dataclasses import dataclass

from lakhnes_lib.errors import DataNotFound

DRIVE = "https://drive.google.com/uc?export=download&id="
LAKHNES_PAGE = "https://github.com/chrisdonahue/LakhNES"

NESMDB = dict(
    licence="published for research, with a request to cite (code: MIT); the music belongs to its composers",
    citation="C. Donahue, H. H. Mao, J. McAuley: The NES Music Database, ISMIR 2018",
)
CHECKPOINT = dict(
    licence="none stated; published for research, with a request to cite",
    citation="C. Donahue, H. H. Mao, Y. E. Li, G. W. Cottrell, J. McAuley: LakhNES: Improving multi-instrumental "
    "music generation with cross-domain pre-training, ISMIR 2019",
    page=LAKHNES_PAGE,
    most_bytes=2_000_000_000,
)
LMD = dict(
    licence="CC BY 4.0 (the collection); the songs belong to their authors",
    citation="C. Raffel: Learning-Based Methods for Comparing Sequences, with Applications to Audio-to-MIDI Alignment "
    "and Matching, PhD thesis, Columbia University, 2016",
    page="https://colinraffel.com/projects/lmd/",
    content=r"[0-9a-f]/[0-9a-f]{32}\.mid",
    md5_names=True,
    most_bytes=30_000_000_000,
    most_members=500_000,
)
"""What the artefacts of one publication have in common."""


@dataclass(frozen=True)
class DataSet:
    """One artefact.

    name, title: what one types, and what it is.  size: of the official archive, as published.
    folder: where it comes to lie, below the data home.  content: pattern of the files that make it up, relative to that
    folder; None: all but the archive's first folder.  url: None for subsets that only mirrors have.
    sha256: of the official archive.  fingerprint: of the content (``archives.fingerprint``).  files: their number.
    md5_names: each file's name is its md5.
    most_bytes, most_members: an archive that unpacks to more is refused.
    """

    name: str
    title: str
    size: str
    folder: str
    licence: str
    citation: str
    page: str
    url: str | None = None
    sha256: str | None = None
    content: str | None = None
    fingerprint: str | None = None
    files: int | None = None
    md5_names: bool = False
    most_bytes: int = 400_000_000
    most_members: int = 20_000

    @property
    def archive(self) -> str:
        """Name of the archive; a mirror may hold it with another compression."""
        return f"{self.folder.rpartition('/')[2]}.tar.gz"


def _nesmdb(name, title, size, page, drive, sha256, ending, **known) -> DataSet:
    known |= NESMDB | dict(page=page, url=DRIVE + drive, sha256=sha256)
    return DataSet(
        name,
        title,
        size,
        name.replace("-", "_"),
        content=rf"(?:train|valid|test)/[^/]+\.{ending}",
        **known,
    )


def _checkpoint(name, title, stem, drive, sha256) -> DataSet:
    known = CHECKPOINT | dict(url=DRIVE + drive, sha256=sha256)
    return DataSet(
        name, f"published checkpoint {stem}: {title}", "147 MB", f"published/{stem}", **known
    )


def _lmd(name, title, size, **known) -> DataSet:
    return DataSet(name, title, size, name.replace("-", "_"), **LMD, **known)


REGISTRY: dict[str, DataSet] = {
    entry.name: entry
    for entry in (
        _nesmdb(
            "nesmdb-midi",
            "NES-MDB: 5,278 songs as MIDI",
            "12 MB",
            "https://github.com/chrisdonahue/nesmdb",
            "1w2uo1Cmio4gz6nGUhZOtzF54kPkoKyo7",
            "37610e2ca5fe70359c85170cf1f4982596783bb304c59d9c439f68c24ff4ee93",
            "mid",
            files=5278,
            fingerprint="7019bbf831c215fdde7cde837612e78d99f701c1cf22d555147c6d7b877f65fb",
        ),
        _nesmdb(
            "nesmdb-tx1",
            "NES-MDB: the same songs as event text (notes and timing)",
            "10 MB",
            LAKHNES_PAGE,
            "1WO6guGagqaw22LH32_NEBeavtbaWy_ar",
            "94763d90ba98ca457b64af3c49b1ed7d9e1434e5ef534be34e836c71d4693cbe",
            r"tx1\.txt",
            files=5278,
            fingerprint="709a393b2c179a8c0d82490063fe8b98767e65e97ce195777b349349cc692877",
        ),
        _nesmdb(
            "nesmdb-tx2",
            "NES-MDB: the same songs as event text with dynamics and timbre",
            "20 MB",
            LAKHNES_PAGE,
            "1ko3LXvotfubZ-C8Xq_K01bWd5NWiduH9",
            "c787a4e04bcf6439a8674683e66f2b87062383296199f3ae3c0ef66de23c50e4",
            r"tx2\.txt",
        ),
        _checkpoint(
            "lakhnes-400k",
            "400k steps on Lakh MIDI, then fine-tuned (the paper's LakhNES)",
            "LakhNES",
            "1ND27trP3pTAl6eAk5QiYE9JjLOivqGsd",
            "856e2ec6db1568d6712d73703804a518616174aaf6eb419ea763bf7490b0b61c",
        ),
        _checkpoint(
            "lakhnes-200k",
            "200k steps on Lakh MIDI, then fine-tuned",
            "Lakh200k",
            "19SN-1vxbNhm_i3lMb_swMVeg5PYiQmkF",
            "b4cec0333e30be6bea04fddfef807ca426e7367c64688619b2da085ff5d1fcfb",
        ),
        _checkpoint(
            "lakhnes-100k",
            "100k steps on Lakh MIDI, then fine-tuned",
            "Lakh100k",
            "1dmqCQ7qqjfyJF-wK8AYgPqgNRRDjyYmR",
            "1fe9606306e9d1e8511a730ab2e67909a86d76a79e96aa90d49be90e0de75a18",
        ),
        _checkpoint(
            "nes-aug",
            "NES-MDB alone, with augmentation",
            "NESAug",
            "13lCurR-OWpqCAu_KehogkAU18-jVm3lU",
            "d137ddc03796bd247d5b200512c0464c1ab33772e7c7511de9e9b2bc7d4a2d83",
        ),
        _checkpoint(
            "nes",
            "NES-MDB alone",
            "NES",
            "1qgN1PxOdSZ8T-zwLqSRvjIXmdV062J3-",
            "b297c5afedd6f11e5d2d4a57e89887161f29c9dada97af0d367da76b06c43e65",
        ),
        _checkpoint(
            "lakh-400k-pretrain-only",
            "400k steps on Lakh MIDI, not fine-tuned",
            "Lakh400kPretrainOnly",
            "1LqVqB9KwOegmWj5l5KJzakkLYVEHF2yb",
            "9f235770f434ce26d540947b01e8d6db6bf046bc39e5d4523a82b6c4805b30b9",
        ),
        _lmd(
            "lmd-full",
            "Lakh MIDI Dataset: every file of LMD-full",
            "1.7 GB",
            url="http://hog.ee.columbia.edu/craffel/lmd/lmd_full.tar.gz",
        ),
        _lmd(
            "lmd-full-5",
            "Lakh MIDI Dataset: folder 5 of LMD-full, 9,991 files",
            "76 MB",
            files=9991,
            fingerprint="f38a00a7f4fcdb7a14cf1b246aa3c6336fb763ec59db2c0ba301d38afd1e3712",
        ),
        _lmd(
            "lmd-full-5-sample",
            "Lakh MIDI Dataset: 400 files of folder 5",
            "3 MB",
            files=400,
            fingerprint="8937128500539711395f21e516896f878270291dc5f92276cc94003dc6a2596b",
        ),
    )
}


def find(name: str) -> DataSet:
    """The entry called ``name``. Raises DataNotFound and lists the names there are."""
    if name not in REGISTRY:
        raise DataNotFound(f"{name!r} is not in the registry; there are: {', '.join(REGISTRY)}")
    return REGISTRY[name]
