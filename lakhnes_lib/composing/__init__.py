"""Composing from what a composer brings: a beginning, a rhythm, or some of the voices."""
