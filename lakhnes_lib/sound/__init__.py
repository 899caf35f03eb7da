"""The sound of the machine: from a score to audio."""
