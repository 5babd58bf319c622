"""A ModernBERT classifier's forward, written a second time: from ``config.json`` and ``model.safetensors`` alone.

It shares no line with transformers, so that a key that is read here and not there, or otherwise, shows in the answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtools.router_contract.config import GLOBAL_EVERY, NORM_EPS, ROPE, TOKEN
from hubtools.router_contract.weights import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor


class SecondForward:
    """A classifier that answers one text at a time, on the CPU in float32."""

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file

        self.config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights: dict[str, Tensor] = load_file(folder / WEIGHTS)
        # The class decides, as in the runtime: no other key tells the two heads apart.
        self.answers_tokens = self.config["architectures"] == [TOKEN]
        # layer_types wins where it is there; older files only say how often a layer sees all tokens.
        layers, every = int(self.config["num_hidden_layers"]), self.config.get("global_attn_every_n_layers")
        self.layer_types: list[str] = self.config.get("layer_types") or [
            "sliding_attention" if i % (every or GLOBAL_EVERY) else "full_attention" for i in range(layers)
        ]

    def probabilities(self, ids: Sequence[int]) -> Tensor:
        """Return the probabilities of one text: (labels,), or (tokens, labels) where tokens are answered.

        Args:
            ids: of its tokens, with those that frame it.
        """
        import torch

        with torch.inference_mode():
            hidden = self._encode(torch.tensor(ids))
            if not self.answers_tokens:
                # The runtime takes cls where the key is missing, which is how a file without it goes wrong.
                pooled = self.config.get("classifier_pooling", "cls")
                hidden = hidden[0] if pooled == "cls" else hidden.mean(0)
            hidden = self._activation("classifier_activation")(self._linear(hidden, "head.dense"))
            logits = self._linear(self._norm(hidden, "head.norm"), "classifier")
            return torch.softmax(logits, dim=-1)

    def _encode(self, ids: Tensor) -> Tensor:
        """Return (tokens, width): embeddings, then layers of attention and MLP, each behind its norm."""
        hidden = self._norm(self.weights["model.embeddings.tok_embeddings.weight"][ids], "model.embeddings.norm")
        for number, kind in enumerate(self.layer_types):
            layer = f"model.layers.{number}"
            # The first layer has no norm before its attention: it would follow that of the embeddings.
            normed = self._norm(hidden, f"{layer}.attn_norm") if number else hidden
            hidden = hidden + self._attend(normed, f"{layer}.attn", kind)
            # GeGLU: one matrix for the value and its gate.
            value, gate = self._linear(self._norm(hidden, f"{layer}.mlp_norm"), f"{layer}.mlp.Wi").chunk(2, dim=-1)
            hidden = hidden + self._linear(self._activation("hidden_activation")(value) * gate, f"{layer}.mlp.Wo")
        return self._norm(hidden, "model.final_norm")

    def _attend(self, hidden: Tensor, name: str, kind: str) -> Tensor:
        import torch

        tokens, width = hidden.shape
        heads = int(self.config["num_attention_heads"])
        each = width // heads
        # One matrix for query, key and value, one behind the other.
        parts = self._linear(hidden, f"{name}.Wqkv").view(tokens, 3, heads, each).permute(1, 2, 0, 3)
        query, key = (self._rotate(part, kind) for part in parts[:2])
        scores = query @ key.transpose(1, 2) / each**0.5  # (heads, tokens, tokens)
        # A local layer sees half of local_attention to each side.
        if kind == "sliding_attention":
            places = torch.arange(tokens)
            far = (places[:, None] - places[None, :]).abs() > int(self.config.get("local_attention", 128)) // 2
            scores = scores.masked_fill(far, float("-inf"))
        mixed = (torch.softmax(scores, dim=-1) @ parts[2]).transpose(0, 1).reshape(tokens, width)
        return self._linear(mixed, f"{name}.Wo")

    def _rotate(self, part: Tensor, kind: str) -> Tensor:
        """Turn each pair of dimensions of (heads, tokens, each) by an angle that grows with the token's place."""
        import torch

        _, tokens, each = part.shape
        # Nested keys of transformers 5 win over the legacy pair, as in the runtime.
        nested = (self.config.get("rope_parameters") or {}).get(kind) or {}
        legacy, default = next((legacy, default) for name, legacy, default in ROPE if name == kind)
        theta = float(nested.get("rope_theta", self.config.get(legacy, default)))
        speeds = theta ** -(torch.arange(0, each, 2).float() / each)
        angles = torch.arange(tokens).float()[:, None] * speeds[None, :]
        sine, cosine = angles.sin(), angles.cos()
        # ModernBERT pairs a dimension with the one half a head further on, not with its neighbour.
        left, right = part.chunk(2, dim=-1)
        return torch.cat([left * cosine - right * sine, right * cosine + left * sine], dim=-1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        from torch.nn.functional import linear

        return linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        from torch.nn.functional import layer_norm

        # norm_eps alone is used: layer_norm_eps is for other readers.
        eps = float(self.config.get("norm_eps", NORM_EPS))
        return layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), eps)

    def _activation(self, key: str) -> Callable[[Tensor], Tensor]:
        from torch.nn import functional

        # The exact gelu by default, with erf and not tanh.
        name = str(self.config.get(key, "gelu"))
        known: dict[str, Callable[[Tensor], Tensor]] = {
            "gelu": functional.gelu,
            "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
            "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
            "relu": functional.relu,
            "silu": functional.silu,
            "swish": functional.silu,
        }
        return known[name]
