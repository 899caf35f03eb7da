"""A run of the findings, as results/findings.json holds them."""

import math


def a_run(name: str, seed: int, perplexity: float, split: str = "valid") -> dict:
    score = {"nats": math.log(perplexity), "perplexity": perplexity}
    return {"name": name, "seed": seed, "minutes": 30, "events": 10**6, split: score}
