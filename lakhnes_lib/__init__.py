"""LakhNES: multi-instrumental music generation with cross-domain pre-training.

A thin library beside the numbered notebooks, after Donahue, Mao, Li, Cottrell and McAuley,
"LakhNES: Improving multi-instrumental music generation with cross-domain pre-training", ISMIR 2019.
"""

__version__ = "0.1.0"
