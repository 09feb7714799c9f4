"""Mixtures of experts as config.json describes them: every family has its own keys."""

from collections.abc import Callable

from runlocal.core.model import Experts
from runlocal.sources.family import Family, Mixture
from runlocal.sources.keys import Keys


def experts(keys: Keys, family: Family, layers: int) -> Experts | None:
    """The experts of a model of `layers` layers, None for a dense model. Raises Problem (bad_file) naming the field that is missing."""
    if family.mixture is None:
        return None
    found = _READERS[family.mixture](keys, layers)._replace(router_bias=family.router_bias, shared_gate=family.shared_gate)
    if found.used > found.count or found.leading_dense_layers >= layers:
        raise keys.not_computed(f"{found.used} of {found.count} experts behind {found.leading_dense_layers} dense layers contradict each other")
    return found


def _mixtral(keys: Keys, layers: int) -> Experts:
    shared = keys.maybe("shared_intermediate_size") or 0
    return Experts(
        count=keys.number("num_local_experts"),
        used=keys.number("num_experts_per_tok", "experts_per_token"),
        intermediate_size=keys.number("intermediate_size"),
        shared_intermediate_size=shared,
    )


def _qwen(keys: Keys, layers: int) -> Experts:
    step, dense = keys.maybe("decoder_sparse_step"), set(keys.indices("mlp_only_layers", layers) or ())
    sparse = tuple(layer for layer in range(layers) if layer not in dense and (layer + 1) % (step or 1) == 0)
    return Experts(
        count=keys.number("num_experts"),
        used=keys.number("num_experts_per_tok"),
        intermediate_size=keys.number("moe_intermediate_size"),
        shared_intermediate_size=keys.maybe("shared_expert_intermediate_size") or 0,
        layers=sparse if len(sparse) < layers else None,
    )


def _deepseek(keys: Keys, layers: int) -> Experts:
    if (keys.maybe("moe_layer_freq") or 1) != 1:
        raise keys.not_computed("not every layer behind the dense ones has experts")
    width = keys.number("moe_intermediate_size")
    return Experts(
        count=keys.number("n_routed_experts"),
        used=keys.number("num_experts_per_tok"),
        intermediate_size=width,
        shared_intermediate_size=width * (keys.maybe("n_shared_experts") or 0),
        leading_dense_layers=keys.maybe("first_k_dense_replace") or 0,
        latent_size=keys.maybe("routed_expert_hidden_size") or None,
    )


def _ernie(keys: Keys, layers: int) -> Experts:
    width = keys.number("moe_intermediate_size")
    last = keys.maybe("moe_layer_end_index")
    if (keys.maybe("moe_layer_interval") or 1) != 1 or (last is not None and last < layers - 1):
        raise keys.not_computed("not every layer behind the dense ones has experts")
    return Experts(
        count=keys.number("moe_num_experts"),
        used=keys.number("moe_k"),
        intermediate_size=width,
        shared_intermediate_size=width * (keys.maybe("moe_num_shared_experts") or 0),
        leading_dense_layers=keys.maybe("moe_layer_start_index") or 0,
    )


def _hunyuan(keys: Keys, layers: int) -> Experts:
    width = keys.number("moe_intermediate_size", "intermediate_size")
    shared = keys.maybe("num_shared_expert") or 0
    return Experts(
        count=keys.number("num_experts"),
        used=keys.number("moe_topk"),
        intermediate_size=width,
        shared_intermediate_size=keys.number("intermediate_size") * shared,
    )


def _llama4(keys: Keys, layers: int) -> Experts:
    step = keys.number("interleave_moe_layer_step")
    with_experts = keys.indices("moe_layers", layers) or tuple(range(step - 1, layers, step))
    width = keys.number("intermediate_size")
    return Experts(
        count=keys.number("num_local_experts"),
        used=keys.number("num_experts_per_tok"),
        intermediate_size=width,
        shared_intermediate_size=width,
        layers=with_experts if len(with_experts) < layers else None,
    )


_READERS: dict[Mixture, Callable[[Keys, int], Experts]] = {
    Mixture.MIXTRAL: _mixtral,
    Mixture.QWEN: _qwen,
    Mixture.DEEPSEEK: _deepseek,
    Mixture.ERNIE: _ernie,
    Mixture.HUNYUAN: _hunyuan,
    Mixture.LLAMA4: _llama4,
}
