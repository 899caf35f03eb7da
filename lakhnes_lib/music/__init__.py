"""Music as the paper sees it: four voices, scores, events. Knows nothing of models."""
