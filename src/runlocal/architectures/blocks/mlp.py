"""Dense MLPs, mixtures of experts, norms."""

from collections.abc import Iterator

from runlocal.core.cache import Cache
from runlocal.core.noun import NamedTuple
from runlocal.core.tensor import Tensor


class DenseMlp(NamedTuple):
    """up, down and, where gated, gate.

    intermediate_size: width
    gated: with a gate
    fused: gate and up are one matrix, stored as `ffn_up`
    bias: every projection has a bias
    sub_norm: a norm before the last projection
    """

    hidden_size: int
    intermediate_size: int
    gated: bool = True
    fused: bool = False
    bias: bool = False
    sub_norm: bool = False

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        wide = {"ffn_up": self.intermediate_size * (2 if self.fused else 1)}
        if self.gated and not self.fused:
            wide["ffn_gate"] = self.intermediate_size
        for role, width in wide.items():
            yield Tensor(role=role, columns=self.hidden_size, rows=width, layers=layers)
            if self.bias:
                yield Tensor(role=f"{role}.bias", columns=width, layers=layers, quantizable=False)
        yield Tensor(role="ffn_down", columns=self.intermediate_size, rows=self.hidden_size, layers=layers)
        if self.bias:
            yield Tensor(role="ffn_down.bias", columns=self.hidden_size, layers=layers, quantizable=False)
        if self.sub_norm:
            yield Tensor(role="ffn_sub_norm", columns=self.intermediate_size, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())


class ExpertMlp(NamedTuple):
    """A router, routed experts stacked in 3-D tensors, and shared experts.

    count, used: experts, experts chosen per token
    intermediate_size: width of one expert
    shared_size: width of all shared experts together, 0 if none
    shared_gate: a learned gate on the shared experts
    gated: experts have a gate
    router_bias: `exp_probs_b`, the correction bias of the router
    bias: router and experts have plain biases (gpt-oss)
    correction: name of the correction bias
    fused: gate and up are one tensor
    scaled: a learned factor per expert multiplies what it yields, and one per value what the router reads (Gemma 4)
    table_rows: rows of a table that gives every token its experts; 0: the router chooses
    latent_size: width of the projection that the routed experts work in, None where they work on the residual stream
    latent_role: what the names of that projection's matrices begin with
    latent_normed: what the experts yield is normed before it leaves the projection
    identity: experts without weights that the router can choose too
    """

    hidden_size: int
    count: int  # type: ignore[assignment]  # the field hides tuple.count, which nothing here needs
    used: int
    intermediate_size: int
    shared_size: int = 0
    shared_gate: bool = False
    gated: bool = True
    router_bias: bool = False
    bias: bool = False
    correction: str = "exp_probs_b.bias"
    fused: bool = False
    scaled: bool = False
    table_rows: int = 0
    latent_size: int | None = None
    latent_role: str = "ffn_latent"
    latent_normed: bool = False
    identity: int = 0

    @property
    def routed_width(self) -> int:
        """Width of what the routed experts read and write."""
        return self.latent_size or self.hidden_size

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d, width, count = self.hidden_size, self.intermediate_size, self.count
        yield Tensor(role="ffn_gate_inp", columns=d, rows=count + self.identity, layers=layers, quantizable=False)
        routed = self.routed_width
        shapes = [("ffn_gate_up_exps", routed, 2 * width) if self.fused else ("ffn_up_exps", routed, width), ("ffn_down_exps", width, routed)]
        if self.gated and not self.fused:
            shapes.append(("ffn_gate_exps", routed, width))
        for role, columns, rows in shapes:
            yield Tensor(role=role, columns=columns, rows=rows, copies=count, layers=layers)
            if self.bias:
                yield Tensor(role=f"{role}.bias", columns=rows, rows=count, layers=layers, quantizable=False)
        if self.bias:
            yield Tensor(role="ffn_gate_inp.bias", columns=count, layers=layers, quantizable=False)
        if self.scaled:
            yield Tensor(role="ffn_gate_inp.scale", columns=d, layers=layers, quantizable=False)
            yield Tensor(role="ffn_down_exps.scale", columns=count, layers=layers, quantizable=False)
        if self.router_bias:
            yield Tensor(role=self.correction, columns=count + self.identity, layers=layers, quantizable=False)
        if self.table_rows:
            yield Tensor(role="ffn_gate_tid2eid", columns=self.used, rows=self.table_rows, layers=layers, quantizable=False, source_type="I32")
        if self.latent_size:
            yield Tensor(role=f"{self.latent_role}_down", columns=d, rows=self.latent_size, layers=layers)
            yield Tensor(role=f"{self.latent_role}_up", columns=self.latent_size, rows=d, layers=layers)
            if self.latent_normed:
                yield Tensor(role=f"{self.latent_role}_norm", columns=self.latent_size, layers=layers, quantizable=False)
        if self.shared_size:
            if self.gated:
                yield Tensor(role="ffn_gate_shexp", columns=d, rows=self.shared_size, layers=layers)
            yield Tensor(role="ffn_up_shexp", columns=d, rows=self.shared_size, layers=layers)
            yield Tensor(role="ffn_down_shexp", columns=self.shared_size, rows=d, layers=layers)
            if self.shared_gate:
                yield Tensor(role="ffn_gate_inp_shexp", columns=d, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())


class Norms(NamedTuple):
    """Norms over the residual stream.

    roles: their names
    bias: they have a bias too (LayerNorm)
    """

    hidden_size: int
    roles: tuple[str, ...]
    bias: bool = False

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        for role in self.roles:
            yield Tensor(role=role, columns=self.hidden_size, layers=layers, quantizable=False)
            if self.bias:
                yield Tensor(role=f"{role}.bias", columns=self.hidden_size, layers=layers, quantizable=False)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())


class NextTokenHead(NamedTuple):
    """What a multi-token-prediction layer has beside an ordinary layer: a projection of two streams, its norms, often its own embedding and output.

    vocabulary_size: rows of embedding and output
    own_embeddings: it has them; else it shares the model's
    last_norm: name of the norm behind the layer
    own_input: its own embeddings include the one on the way in
    """

    hidden_size: int
    vocabulary_size: int
    own_embeddings: bool = True
    last_norm: str = "nextn.shared_head_norm"
    own_input: bool = True

    def tensors(self, layers: tuple[int, ...]) -> Iterator[Tensor]:
        d = self.hidden_size
        yield Tensor(role="nextn.eh_proj", columns=2 * d, rows=d, layers=layers)
        for role in ("nextn.enorm", "nextn.hnorm", self.last_norm):
            yield Tensor(role=role, columns=d, layers=layers, quantizable=False)
        own = ("nextn.embed_tokens", "nextn.shared_head_head") if self.own_input else ("nextn.shared_head_head",)
        for role in own if self.own_embeddings else ():
            yield Tensor(role=role, columns=d, rows=self.vocabulary_size, layers=layers)

    def caches(self, layers: tuple[int, ...]) -> Iterator[Cache]:
        return iter(())
