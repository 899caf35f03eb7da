"""The model that a training run begins with: a new one, or a checkpoint to fine-tune.

Paper: §5 (a new model) and §4.2 (fine-tuning). Notebook: 05_training.
Differences from the paper: none.
"""

from lakhnes_lib.errors import BadCheckpoint, BadProfile, LakhnesError
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.language_model import LanguageModel
from lakhnes_lib.profiles import Profile


def first_model(profile: Profile, name: str, start) -> LanguageModel:
    """The model that training begins with: new, or that of a checkpoint of the same architecture.

    Raises BadProfile, BadCheckpoint, DataNotFound, or LakhnesError for one that cannot be trained.
    """
    sizes = profile.models[name]
    try:
        model = checkpoints.load(start) if start else checkpoints.build(**sizes)
    except BadCheckpoint as error:
        if start:
            raise
        raise BadProfile(f"profile {profile.name}: models: {name}: {error}") from None
    if not model.parameter_count():
        raise LakhnesError(f"a {model.architecture} model has no weights to train")
    if model.architecture != sizes["architecture"]:
        kinds = f"is a {model.architecture}, and {name} of profile {profile.name} is a"
        raise LakhnesError(f"{start}: {kinds} {sizes['architecture']}")
    model.memory_length = sizes.get("memory_length", model.memory_length)
    return model
