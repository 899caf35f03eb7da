"""MIDI-Sandwich2: a variational autoencoder for each track, and one more over all of them.

Source: X. Liang, J. Wu and J. Cao, "MIDI-Sandwich2: RNN-based Hierarchical Multi-modal Fusion
Generation VAE networks for multi-track symbolic music generation" (2019), §III. Notebook:
11_midi_sandwich. A bar of one track becomes a normal distribution of 64 numbers and comes back (the
BVAEs). Means and variances of all tracks become one of 128 numbers and come back (the MFG-VAE).
Between the two a number is drawn; at the end a refine net looks over the whole picture.
Differences from the paper: decoders end in a linear layer and a sigmoid, and are trained by binary
cross-entropy (the published code's end in an LSTM, and are trained by the squared error from -1 and
1); losses are sums over cells and latent numbers, as equation 6 says, where means of both would
weigh the divergence 126 times more with the paper's sizes (the published code takes means, and has
other sizes); the upper loss is the divergence of the tracks' distributions from those that come
back, which makes all of it one bound on the likelihood; LSTMs begin with gates that remember for 1
to as many steps as there are (C. Tallec and Y. Ollivier, "Can recurrent neural networks warp
time?", 2018), without which they learn several times more slowly; the refine net starts as the
identity; those of ``fitting.py``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from lakhnes_lib.companions.piano_rolls import BAR
from lakhnes_lib.models.language_model import arguments

STRATEGIES = ("concatenate", "project", "sequence")
STANDARD = Normal(0.0, 1.0)
SILENCE = -3.0
"""The first logit of every cell: some 5 % of them sound."""


def normal(parameters: Tensor) -> Normal:
    """Normal distributions of means and log variances: (…, 2 n) -> (…, n)."""
    mean, log_variance = parameters.chunk(2, -1)
    return Normal(mean, (log_variance.clamp(-12, 6) / 2).exp(), validate_args=False)


def by_track(nets, x: Tensor) -> Tensor:
    """What each track's net makes of its own part of x: (batch, tracks, …) to the same."""
    return torch.stack([net(part) for net, part in zip(nets, x.unbind(1), strict=True)], 1)


class VRAE(nn.Module):
    """A variational recurrent autoencoder of sequences (batch, steps, inputs).

    An LSTM reads the sequence, and its last output becomes a normal distribution. Another LSTM
    reads the number drawn from it once for each step, and makes a logit for each input.
    """

    def __init__(self, inputs: int, steps: int, latent: int, intermediate: int):
        super().__init__()
        self.steps = steps
        self.encoder = nn.LSTM(inputs, intermediate, batch_first=True)
        self.code = nn.Linear(intermediate, 2 * latent)
        self.decoder = nn.LSTM(latent, intermediate, batch_first=True)
        self.output = nn.Linear(intermediate, inputs)
        for lstm in (self.encoder, self.decoder):  # how many steps each unit remembers at first
            spans = torch.empty(intermediate).uniform_(1, steps - 1).log()
            lstm.bias_ih_l0.data[: 2 * intermediate] = torch.cat([-spans, spans])

    def encode(self, x: Tensor) -> Tensor:
        """(batch, steps, inputs) -> means and log variances (batch, 2 latent)."""
        _, (h, _) = self.encoder(x)
        return self.code(h[-1])

    def decode(self, z: Tensor) -> Tensor:
        """(batch, latent) -> (batch, steps, inputs)."""
        return self.output(self.decoder(z[:, None].expand(-1, self.steps, -1))[0])


class Perceptron(nn.Module):
    """The MFG-VAE of strategies 1 and 2: each track through a matrix of its own into one space,
    where they are added, and on through layers of perceptrons.

    bend: whether each track is bent (tanh) before the sum. Without it the matrices are one large
    matrix of all tracks side by side, which is strategy 1.
    """

    def __init__(self, bend: bool, tracks: int, features: int, latent: int, hidden: int):
        super().__init__()
        self.bend = nn.Tanh() if bend else nn.Identity()
        self.matrices = nn.ModuleList(nn.Linear(features, hidden) for _ in range(tracks))
        inner, outer = ([nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()] for _ in range(2))
        self.encoder = nn.Sequential(*inner, nn.Linear(hidden, 2 * latent))
        last = (nn.Linear(hidden, tracks * features), nn.Unflatten(1, (tracks, features)))
        self.decode = nn.Sequential(nn.Linear(latent, hidden), *outer, *last)

    def encode(self, x: Tensor) -> Tensor:
        """(batch, tracks, features) -> means and log variances (batch, 2 latent)."""
        return self.encoder(self.bend(by_track(self.matrices, x)).sum(1))


class ResidualUnit(nn.Sequential):
    """Normalise, rectify, convolve, twice, and add what came in: (batch, steps, pitches)."""

    def __init__(self, channels: int, kernel: tuple[int, int]):
        layers, (steps, pitches) = [], kernel
        edges = nn.ZeroPad2d(((pitches - 1) // 2, pitches // 2, steps // 2, steps // 2))
        for inputs, outputs in ((1, channels), (channels, 1)):
            convolution = nn.Conv2d(inputs, outputs, kernel, bias=False)
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(), edges, convolution]
        super().__init__(*layers)
        nn.init.zeros_(convolution.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + super().forward(x.unsqueeze(1)).squeeze(1)


def binary(logits: Tensor, neuron: str) -> Tensor:
    """Zeros and ones by MuseGAN's neurons: 1 where the sigmoid is above 1/2 (deterministic), or
    with the sigmoid's probability (stochastic). The gradient is the sigmoid's (straight through).

    >>> binary(torch.tensor([-2.0, 0.1, 3.0]), "deterministic")
    tensor([0., 1., 1.])
    """
    soft = logits.sigmoid()
    threshold = 0.5 if neuron == "deterministic" else torch.rand_like(soft)
    return (soft > threshold).float() + (soft - soft.detach())


class Sandwich(nn.Module):
    """The whole system. Rolls are float (batch, tracks, steps, pitches) of 0 and 1, one bar each.

    tracks, pitches: as of ``piano_rolls.Kind``. sizes: ``latent`` numbers of a track's code,
    ``intermediate`` units of an LSTM, ``fusion_latent`` numbers of the upper code, and ``channels``
    of a track in the refine net. strategy: one of ``STRATEGIES``. shared: one BVAE for all tracks.
    deviation: the factor by which the deviation of every draw is multiplied; 1 is a variational
    autoencoder by the book. unit: what the refine net sees at once, a ``bar`` or a ``note``, which
    is one step.
    """

    def __init__(
        self, tracks, pitches, sizes, strategy="sequence", shared=False, deviation=0.01, unit="bar"
    ):
        super().__init__()
        self.config, self.deviation = arguments(locals()), deviation
        latent, intermediate = sizes["latent"], sizes["intermediate"]
        bvaes = [VRAE(pitches, BAR, latent, intermediate) for _ in range(tracks)]
        for bvae in bvaes:
            nn.init.constant_(bvae.output.bias, SILENCE)
        self.bvaes = nn.ModuleList(bvaes[:1] * tracks if shared else bvaes)
        if strategy == "sequence":
            self.fusion = VRAE(2 * latent, tracks, sizes["fusion_latent"], intermediate)
        else:
            over = (tracks, 2 * latent, sizes["fusion_latent"], 4 * intermediate)
            self.fusion = Perceptron(strategy == "project", *over)
        seen = sizes["channels"], (3, 12) if unit == "bar" else (1, 12)
        units = ([ResidualUnit(*seen), ResidualUnit(*seen)] for _ in range(tracks))
        self.refine = nn.ModuleList(nn.Sequential(*two) for two in units)

    def narrow(self, q: Normal) -> Normal:
        """The distribution from which is really drawn: ``deviation`` times as wide."""
        return Normal(q.mean, self.deviation * q.stddev, validate_args=False)

    def code(self, x: Tensor) -> Tensor:
        """Rolls -> means and log variances of each track's code, (batch, tracks, 2 latent)."""
        return by_track([bvae.encode for bvae in self.bvaes], x)

    def encode(self, x: Tensor) -> Normal:
        """Rolls -> the distribution of each track's code, Normal of (batch, tracks, latent)."""
        return normal(self.code(x))

    def decode(self, z: Tensor) -> Tensor:
        """(batch, tracks, latent) -> logits of rolls, not refined."""
        return by_track([bvae.decode for bvae in self.bvaes], z)

    def fuse(self, q: Normal) -> Normal:
        """The upper encoder: what ``encode`` gave -> Normal of (batch, fusion latent)."""
        return normal(self.fusion.encode(torch.cat([q.mean, 2 * q.stddev.log()], -1)))

    def compose(self, u: Tensor, refined: bool = True) -> Tensor:
        """(batch, fusion latent) -> rolls as probabilities. The tracks' numbers are drawn here,
        after the upper decoder.

        u: ``torch.randn`` for new music (the published code takes a hundredth of it); a draw of
        ``narrow(fuse(encode(x)))`` to restore x; what lies between two means of
        ``fuse(encode(x))`` to interpolate.
        """
        logits = self.decode(self.narrow(normal(self.fusion.decode(u))).rsample())
        return (by_track(self.refine, logits) if refined else logits).sigmoid()

    def track_loss(self, x: Tensor) -> Tensor:
        """Stage 1: reconstruction and divergence of each track's bar, float (batch, tracks), in
        nats."""
        q = self.encode(x)
        logits = self.decode(self.narrow(q).rsample())
        return cross_entropy(logits, x) + kl_divergence(q, STANDARD).sum(-1)

    def fusion_loss(self, q: Normal, weight: float = 1.0) -> Tensor:
        """Stage 2, equation 6 with the BVAEs frozen: float (batch,), in nats.

        q: what ``encode`` gave. Frozen encoders say the same of a bar in every step, so that the
        ``code`` of all bars can be computed once. weight: of the upper code's own divergence. A
        weight that rises from 0 to 1 during the training keeps the upper decoder from learning to
        do without the code (S. Bowman et al., "Generating sentences from a continuous space",
        2016).
        """
        above = self.fuse(q)
        back = normal(self.fusion.decode(self.narrow(above).rsample()))
        return kl_divergence(q, back).sum((1, 2)) + weight * kl_divergence(above, STANDARD).sum(-1)

    def refine_loss(self, x: Tensor, neuron: str | None = None) -> Tensor:
        """Of refined reconstructions, the BVAEs frozen: float (batch, tracks). By equation 4, in
        nats; with a ``neuron`` of ``binary``, the number of wrong cells."""
        with torch.no_grad():
            logits = self.decode(self.narrow(self.encode(x)).rsample())
        logits = by_track(self.refine, logits)
        if neuron:
            return (binary(logits, neuron) - x).square().sum((2, 3))
        return cross_entropy(logits, x)


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """Equation 4, summed over the cells of each track: (batch, tracks), in nats."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((2, 3))
