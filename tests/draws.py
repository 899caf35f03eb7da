"""What tests of drawing share: a model of one distribution, and the draw by hand."""

import numpy as np
import torch

from lakhnes_lib.models.language_model import LanguageModel

UNIFORM = dict(temperature=1.0, top_k=None, top_p=1.0)


class Made(LanguageModel):
    """Gives the same distribution after every event."""

    def __init__(self, probabilities: np.ndarray):
        super().__init__()
        self.row = torch.from_numpy(np.log(probabilities)).float()

    def log_probs(self, ids, state=None, *, memory_length=None):
        return self.row.expand(*ids.shape, -1), None


def draw_by_hand(probabilities, uniform, temperature, top_k, top_p) -> int:
    """Temperature, top-k and top-p one after the other in Python floats, then the draw."""
    scaled = {e: float(p) ** (1 / temperature) for e, p in enumerate(probabilities) if p > 0}
    ranked = sorted(scaled, key=lambda event: (-scaled[event], event))[:top_k]
    total = sum(scaled[event] for event in ranked)
    likeliest, mass = [], 0.0
    for event in ranked:
        if mass >= top_p:
            break
        likeliest.append(event)
        mass += scaled[event] / total
    goal, reached = uniform * sum(scaled[event] for event in likeliest), 0.0
    for event in likeliest:
        reached += scaled[event]
        if goal < reached:
            return event
    return likeliest[-1]
