"""How alike two sets of pieces are by one metric: divergence and overlapping area.

Paper: not looked at. Used by ``metrics_of_sets.py``. Source: Yang and Lerch, On the evaluation of
generative models in music, Neural Computing and Applications, 2020. Differences from it: both
densities are taken at the same 200 points.
"""

import numpy as np
from scipy import stats

POINTS = 200
"""At so many points two densities are compared."""
LEAST = 1e-300
"""Of a density, so that its logarithm is finite."""


def divergence_and_overlap(values: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Kullback-Leibler divergence in nats, and overlapping area, of two sets by one metric.

    values, reference: floats (songs,) of the two sets. The differences between any two songs of the
    reference, and those between each of the other songs and each of the reference, are taken as
    two densities, which a Gaussian kernel smooths. For two samples of the same music the divergence
    is about 0 and the area about 1. NaN if a set has no differences.

    Example: ``divergence_and_overlap(np.arange(40.0), np.arange(40.0))`` is about (0, 1).
    """
    values, reference = (each[~np.isnan(each)] for each in (values, reference))
    within = np.abs(reference[:, None] - reference)[np.triu_indices(len(reference), 1)]
    between = np.abs(values[:, None] - reference).ravel()
    if min(len(np.unique(within)), len(np.unique(between))) < 2:
        return float("nan"), float("nan")
    points = np.linspace(0, max(within.max(), between.max()), POINTS)
    densities = (stats.gaussian_kde(each)(points) for each in (within, between))
    real, ours = (np.maximum(each / each.sum(), LEAST) for each in densities)
    return float(stats.entropy(real, ours)), float(np.minimum(real, ours).sum())
