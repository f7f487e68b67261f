"""Sequence models before the Transformer: the LSTM, and an encoder–decoder made of it.

A recurrent network reads one token after the other and keeps all it knows in a state of fixed
size. An encoder's last state was once all that a decoder got of a sentence; additive attention
gave it a look at every state of the encoder instead.

Shapes: B sentences, S source tokens, T target tokens, C = d_model, V target words.

Sources: Hochreiter and Schmidhuber 1997 (LSTM; the forget gate is Gers et al. 2000), Sutskever
et al. 2014 (encoder–decoder), Bahdanau et al. 2015 (additive attention).
"""

from dataclasses import dataclass

import torch
from torch import nn

from aigc_lab.models.transformer import check_start, check_tokens


@dataclass(frozen=True)
class RecurrentConfig:
    """The architecture.

    Args:
        source_vocab_size, target_vocab_size: number of token ids of each language.
        d_model: width C of embeddings and states.
        attention: whether the decoder looks at all of the encoder's states.
        max_length: most tokens of a sentence.
        pad_token: id that fills short rows.
        start_token: id with which the decoder's input begins; a target without it is refused.
            None leaves that unchecked.

    Raises:
        ValueError: a size below 1, an odd width (the encoder reads in two directions, each with
            half of it), or a padding id outside a vocabulary.
    """

    source_vocab_size: int
    target_vocab_size: int
    d_model: int = 128
    attention: bool = True
    max_length: int = 128
    pad_token: int = 0
    start_token: int | None = None

    def __post_init__(self) -> None:
        if self.d_model < 2 or self.d_model % 2:
            raise ValueError(f"d_model={self.d_model} must be even and at least 2")
        if not 0 <= self.pad_token < min(self.source_vocab_size, self.target_vocab_size):
            raise ValueError(
                f"pad_token={self.pad_token} must be an id of both vocabularies, of "
                f"{self.source_vocab_size} and {self.target_vocab_size} tokens"
            )


State = tuple[torch.Tensor, torch.Tensor]  # what it shows and what it keeps: h and c, (B, C) each


class LSTMCell(nn.Module):
    """One step of an LSTM.

        i, f, o = σ(W x + U h + b)      which part to write, to keep, to show
        g = tanh(W x + U h + b)         what to write
        c' = f·c + i·g,   h' = o·tanh(c')

    What is kept, c, is changed by a sum: its gradient flows back through many steps, multiplied
    only by the forget gates.

    Args:
        n_inputs: width of x.
        n_units: width C of h and c.
    """

    def __init__(self, n_inputs: int, n_units: int):
        super().__init__()
        self.n_units = n_units
        self.inputs = nn.Linear(n_inputs, 4 * n_units)  # rows: i, f, g, o
        self.recurrent = nn.Linear(n_units, 4 * n_units, bias=False)
        for layer in (self.inputs, self.recurrent):
            nn.init.uniform_(layer.weight, -(n_units**-0.5), n_units**-0.5)
        nn.init.zeros_(self.inputs.bias)
        with torch.no_grad():  # keep at first: a gate of σ(1) = 0.73 instead of 0.5
            self.inputs.bias[n_units : 2 * n_units] = 1.0

    def forward(self, x: torch.Tensor, state: State) -> State:
        """The state after reading x `(B, n_inputs)`."""
        return self.step(self.inputs(x), state)

    def step(self, from_input: torch.Tensor, state: State) -> State:
        """The same, with W x + b `(B, 4·C)` already computed: for all steps in one product."""
        h, c = state
        i, f, g, o = (from_input + self.recurrent(h)).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def start(self, batch_size: int) -> State:
        """The state before the first token: zeros."""
        zeros = self.inputs.weight.new_zeros(batch_size, self.n_units)
        return zeros, zeros


class LSTM(nn.Module):
    """A cell that goes over a sequence, in one direction.

    Args:
        n_inputs, n_units: of the cell.
        reverse: whether to begin at the end.
    """

    def __init__(self, n_inputs: int, n_units: int, reverse: bool = False):
        super().__init__()
        self.cell, self.reverse = LSTMCell(n_inputs, n_units), reverse

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """States h of all steps, `(B, T, C)`, and the last state.

        Args:
            x: `(B, T, n_inputs)`.
            mask: boolean `(B, T)`, False for padding: there the state stays as it is.
            state: before the first step; zeros by default.
        """
        from_inputs = self.cell.inputs(x)  # (B, T, 4C)
        state = self.cell.start(len(x)) if state is None else state
        steps = range(x.shape[1])
        shown: list[torch.Tensor] = []
        for t in reversed(steps) if self.reverse else steps:
            new = self.cell.step(from_inputs[:, t], state)
            if mask is not None:
                is_real = mask[:, t, None]
                new = tuple(torch.where(is_real, a, b) for a, b in zip(new, state, strict=True))
            state = new
            shown.append(state[0])
        if self.reverse:
            shown.reverse()
        return torch.stack(shown, dim=1), state


class AdditiveAttention(nn.Module):
    """Weights from a small network: score(q, k) = vᵀ tanh(W q + U k)."""

    def __init__(self, d_model: int):
        super().__init__()
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key = nn.Linear(d_model, d_model, bias=False)
        self.score = nn.Linear(d_model, 1, bias=False)

    def forward(
        self, q: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted mean of the memory, `(B, T, C)`, and the weights `(B, T, S)`.

        Args:
            q: what asks, `(B, T, C)`.
            memory: `(B, S, C)`.
            mask: boolean `(B, S)`, False for padding.
        """
        sums = self.query(q)[:, :, None] + self.key(memory)[:, None]  # (B, T, S, C)
        scores = self.score(sums.tanh()).squeeze(-1)  # (B, T, S)
        weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)
        return weights @ memory, weights


class RecurrentTranslator(nn.Module):
    """An LSTM encoder that reads in both directions, and an LSTM decoder.

    The decoder's state begins as a function of the encoder's last states. Without attention that
    is all it learns of the source. With it, each of its states asks the encoder's states, and the
    next token is predicted from the state and the answer together (as in Luong et al. 2015, whose
    decoder can be trained on all steps in few products; Bahdanau's feeds the answer into the next
    step).
    """

    def __init__(self, config: RecurrentConfig):
        super().__init__()
        self.config = config
        width = config.d_model
        self.source_embedding = nn.Embedding(config.source_vocab_size, width)
        self.target_embedding = nn.Embedding(config.target_vocab_size, width)
        self.forwards = LSTM(width, width // 2)
        self.backwards = LSTM(width, width // 2, reverse=True)
        self.decoder = LSTM(width, width)
        self.attention = AdditiveAttention(width) if config.attention else None
        self.combine = nn.Linear(2 * width if config.attention else width, width)
        self.head = nn.Linear(width, config.target_vocab_size)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits of each next target token, `(B, T, V)`; arguments as for `Transformer`."""
        memory, source_mask = self.encode(source)
        return self.decode(target, memory, source_mask)[0]

    def encode(self, source: torch.Tensor) -> tuple[tuple[torch.Tensor, State], torch.Tensor]:
        """The encoder's states `(B, S, C)` with the decoder's first state, and the mask `(B, S)`.

        Raises:
            ValueError: no token, more than `max_length`, or an id outside the vocabulary.
        """
        check_tokens(source, self.config.source_vocab_size, self.config.max_length, "source")
        mask = source != self.config.pad_token
        x = self.source_embedding(source)
        there, (h_there, c_there) = self.forwards(x, mask)
        back, (h_back, c_back) = self.backwards(x, mask)
        state = torch.cat([h_there, h_back], dim=-1), torch.cat([c_there, c_back], dim=-1)
        return (torch.cat([there, back], dim=-1), state), mask

    def decode(
        self,
        target: torch.Tensor,
        memory: tuple[torch.Tensor, State],
        source_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits `(B, T, V)`, and the attention's weights `(B, 1, T, S)` if there is one.

        Raises:
            ValueError: as `encode`, or a target that does not begin with the start token.
        """
        check_tokens(target, self.config.target_vocab_size, self.config.max_length, "target")
        check_start(target, self.config.start_token)
        states, first = memory
        shown, _ = self.decoder(self.target_embedding(target), state=first)
        maps = []
        if self.attention is not None:
            found, weights = self.attention(shown, states, source_mask)
            shown = torch.cat([shown, found], dim=-1)
            maps = [weights[:, None]]
        return self.head(self.combine(shown).tanh()), maps
