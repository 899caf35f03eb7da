"""An encoder-decoder Transformer with relative attention: reads some tracks, writes another one.

Paper: none; after M. Murhu, *Generating Complementary Instrument Tracks with a Transformer Model*
(master's thesis, 2024), §2.3 and §3.2. Notebook: 10_complementary_tracks. Which tracks are read and
written: ``paired_parts.py``. Training and composing: ``accompanying.py``.
Differences from the thesis: distances beyond ``reach`` share one vector. It does not say what a
distance is in cross-attention, where query and key stand in different sequences. Here a clock says
for each token how far it moves time; by default every token moves it by one, so that distances
count tokens, which is the plain reading of the thesis. With a clock of musical time the decoder can
look at what the given tracks play at the same moment.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lakhnes_lib.models.language_model import arguments

PADDING = -1
"""Fills the rows of a batch; nothing looks at it, and nothing has to predict it."""


class RelativeAttention(nn.Module):
    """Relative global attention (thesis, equation 14): softmax((Q Kᵀ + S_rel) / √d) V.

    S_rel of a query and a key is the query's product with a learned vector of their distance.
    """

    def __init__(self, width: int, heads: int, reach: int):
        super().__init__()
        self.heads, self.reach = heads, reach
        self.query = nn.Linear(width, width)  # W^Q of all heads
        self.key_value = nn.Linear(width, 2 * width)  # W^K above W^V
        self.output = nn.Linear(width, width)  # W^O
        # E^r of the distances -reach … reach
        self.distances = nn.Parameter(0.02 * torch.randn(heads, 2 * reach + 1, width // heads))

    def _by_head(self, x: Tensor) -> Tensor:
        """(batch, time, width) to (batch, heads, time, head width)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_and_values(self, x: Tensor) -> list[Tensor]:
        """Of what may be looked at, (batch, keys, width): each (batch, heads, keys, head width)."""
        return [self._by_head(part) for part in self.key_value(x).chunk(2, -1)]

    def forward(self, x, key, value, distance, hidden) -> Tensor:
        """(batch, time, width), of x, of the same shape, and ``keys_and_values``.

        distance: int64 (batch or 1, time, keys), a key's position less the query's. hidden: bool,
        the same shape or (batch, 1, keys): keys that must not be looked at.
        """
        query = self._by_head(self.query(x))
        by_distance = query @ self.distances.mT  # (batch, heads, time, 2 reach + 1)
        column = distance.clamp(-self.reach, self.reach).unsqueeze(1) + self.reach
        s_rel = by_distance.gather(-1, column.expand(*by_distance.shape[:3], -1))
        bias = (s_rel / sqrt(query.shape[-1])).masked_fill(hidden.unsqueeze(1), -torch.inf)
        attended = F.scaled_dot_product_attention(query, key, value, bias)
        return self.output(attended.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention to its own sequence, for a decoder to the given one, and a feed-forward net.

    Each is added to its input, with dropout before the sum is normalised, as in the thesis.
    """

    def __init__(self, width, heads, feed_forward, dropout, reach, decodes: bool):
        super().__init__()
        self.own = RelativeAttention(width, heads, reach)
        self.given = RelativeAttention(width, heads, reach) if decodes else None
        inner = nn.Linear(width, feed_forward), nn.ReLU(), nn.Linear(feed_forward, width)
        self.feed_forward = nn.Sequential(*inner)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 + decodes))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, own: tuple, given: tuple = ()) -> Tensor:
        """(batch, time, width); own, given: the arguments of the two attentions after x."""
        x = self.norms[0](x + self.dropout(self.own(x, *own)))
        if self.given is not None:
            x = self.norms[2](x + self.dropout(self.given(x, *given)))
        return self.norms[1](x + self.dropout(self.feed_forward(x)))


class EncoderDecoder(nn.Module):
    """Logits of a target's next token, given the source and the target so far.

    vocabulary: tokens that sources and targets are made of. starts: further tokens with which a
    target may begin; they say what is wanted, and are never predicted. layers: of the encoder, and
    as many of the decoder. clock: None if it counts tokens; otherwise two lists with a number for
    each token: by how much it moves time, and the time since then at which it stands, or -1 if it
    sets none. A REMI bar moves time by 32 and stands at 0, a position stands within the bar, and an
    event's wait moves time by its length. Starts stand at 0.

    Example: ``EncoderDecoder(631, 1, **sizes)(source, target)``, with int64 (batch, source) and
    (batch, time), gives float32 (batch, time, 631).
    """

    def __init__(
        self, vocabulary, starts, width, layers, heads, feed_forward, dropout, reach, clock=None
    ):
        super().__init__()
        self.config = arguments(locals())
        self.embedding = nn.Embedding(vocabulary + starts, width)
        sizes = width, heads, feed_forward, dropout, reach
        self.encoder = nn.ModuleList(Layer(*sizes, decodes=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(*sizes, decodes=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, vocabulary)
        by_token = [1.0] * vocabulary, [-1.0] * vocabulary
        self.register_buffer("clock", F.pad(torch.tensor(clock or by_token), (0, starts)))

    def times(self, ids: Tensor) -> Tensor:
        """The time after each token, by the model's clock: float32 (batch, time)."""
        advance, position = self.clock[:, ids.clamp_min(0)]
        index = torch.arange(ids.shape[1], device=ids.device)
        last_set = torch.where(position >= 0, index, 0).cummax(-1).values
        return advance.cumsum(-1) + position.gather(-1, last_set).clamp_min(0)

    def _embed(self, ids: Tensor, times: Tensor) -> Tensor:
        """Embeddings, and the sines and cosines of the times: (batch, time, width)."""
        x = self.embedding(ids.clamp_min(0))
        exponent = torch.arange(0, x.shape[-1], 2, device=ids.device) / x.shape[-1]
        angle = times.unsqueeze(-1) * 10_000**-exponent
        return self.dropout(x + torch.cat([angle.sin(), angle.cos()], -1))

    def read(self, source: Tensor) -> tuple:
        """The encoder: source is int64 (batch, source), padded with ``PADDING`` at the right.

        Returns what ``step`` takes: keys and values for each layer of the decoder, the time of each
        token, float32 (batch, source), and the padding, bool (batch, 1, source).
        """
        times, padding = self.times(source), (source < 0).unsqueeze(1)
        index = torch.arange(source.shape[1], device=source.device)
        distance = (index - index[:, None]).unsqueeze(0)  # (1, source, source)
        x = self._embed(source, times)
        for layer in self.encoder:
            x = layer(x, (*layer.own.keys_and_values(x), distance, padding))
        return [layer.given.keys_and_values(x) for layer in self.decoder], times, padding

    def step(self, reading: tuple, ids: Tensor, state=None) -> tuple[Tensor, tuple]:
        """Logits after each of these tokens of the targets, (batch, time, vocabulary), and a state.

        state: None, or what was returned for the tokens before: those tokens, and each layer's keys
        and values of them, so that they need not be computed again. A reading of one source serves
        a batch of targets.
        """
        layers, there, padding = reading
        before, cache = state or (ids[:, :0], [()] * len(layers))
        every = torch.cat([before, ids], 1)
        times = self.times(every)[:, before.shape[1] :]
        index = torch.arange(every.shape[1], device=ids.device)
        distance = (index - index[before.shape[1] :, None]).unsqueeze(0)  # (1, time, keys)
        across = (there.unsqueeze(1) - times.unsqueeze(-1)).round().long()
        x, new_cache = self._embed(ids, times), []
        for layer, given, old in zip(self.decoder, layers, cache, strict=True):
            own = layer.own.keys_and_values(x)
            if old:
                own = [torch.cat(pair, 2) for pair in zip(old, own, strict=True)]
            new_cache.append(own)
            x = layer(x, (*own, distance, distance > 0), (*given, across, padding))
        return self.output(x), (every, new_cache)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits after each token of the targets: float32 (batch, time, vocabulary)."""
        return self.step(self.read(source), target)[0]

    def loss(self, source: Tensor, target: Tensor) -> Tensor:
        """Mean negative log-likelihood of a target's token after its start, in nats.

        target: int64 (batch, 1 + time), a start, then tokens, padded at the right.
        """
        logits = self(source, target[:, :-1]).flatten(0, 1)
        return F.cross_entropy(logits, target[:, 1:].flatten(), ignore_index=PADDING)
