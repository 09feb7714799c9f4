"""State-space layers: what Mamba and the hybrids have beyond an ordinary layer."""

from collections.abc import Mapping

from runlocal.core.model import Mamba, Text
from runlocal.sources.files import bad_file
from runlocal.sources.gguf.metadata import BROKEN, Metadata

PURE = ("mamba", "mamba2")
HYBRID = ("falcon-h1", "granitehybrid", "jamba", "nemotron_h", "nemotron_h_moe")
_ONE_BLOCK = ("nemotron_h", "nemotron_h_moe")  # a layer has a scan, attention or an MLP

Shapes = Mapping[str, tuple[int, ...]]


def tidied(fields: Metadata) -> Metadata:
    """The fields without what stands for layers that have no attention or no MLP."""
    if fields.architecture in HYBRID:
        return fields.without_zeros("attention.head_count", "attention.head_count_kv", "feed_forward_length")
    if fields.architecture not in PURE:
        return fields
    heads = {f"{fields.architecture}.attention.{key}": 1 for key in ("head_count", "head_count_kv", "key_length", "value_length")}
    return fields._replace(header=fields.header._replace(fields={**fields.header.fields, **heads}))


def stateful(fields: Metadata, dimensions: Shapes, layers: Shapes, text: Text) -> Text:
    """The text with its state-space layers, and the layers that have something else."""
    if fields.architecture in PURE:
        text = text._replace(heads=0, kv_heads=0, head_dim=0, value_dim=None, rope_dimensions=None)
    mamba = _mamba(fields, dimensions, layers)
    if mamba is None and fields.architecture != "granitehybrid":
        raise bad_file(fields.path, "holds no state-space layers", hint=BROKEN)
    attending = _running(text, layers, "attn_q", "attn_qkv")
    if fields.architecture in _ONE_BLOCK:
        text = text._replace(attention_layers=attending, mlp_layers=_running(text, layers, "ffn_down", "ffn_down_exps"))
    elif fields.architecture == "falcon-h1":
        text = text._replace(attention_layers=attending)
    elif set(attending) != set(range(text.layers)).difference(mamba.layers if mamba and mamba.layers is not None else range(text.layers) if mamba else ()):
        raise bad_file(fields.path, "some layers have neither a state nor attention, or both", hint=BROKEN)
    latent = dimensions.get("ffn_latent_down")
    if text.experts and latent:
        text = text._replace(experts=text.experts._replace(latent_size=latent[-1]))
    return text._replace(mamba=mamba)


def _running(text: Text, layers: Shapes, *roles: str) -> tuple[int, ...]:
    return tuple(sorted(layer for role in roles for layer in layers.get(role, ()) if layer < text.layers))


def _mamba(fields: Metadata, dimensions: Shapes, layers: Shapes) -> Mamba | None:
    found = layers.get("ssm_conv1d")
    if not found:
        return None
    inner, state, steps = (fields.positive(f"ssm.{key}") for key in ("inner_size", "state_size", "time_step_rank"))
    first, groups = "ssm_x" in dimensions, fields.number("ssm.group_count", 1) or 1
    width = inner if first else inner + 2 * groups * state
    entering = 2 * inner if first else inner + width + steps
    conv = fields.positive("ssm.conv_kernel")
    fits = dimensions["ssm_x"][1:] == (steps + 2 * state,) if first else not (inner % steps or inner % groups)
    if dimensions["ssm_conv1d"] != (conv, width) or dimensions.get("ssm_in", ())[1:] != (entering,) or not fits:
        raise bad_file(fields.path, "its state-space layers contradict their tensors", hint=BROKEN)
    norm = "weights" if {"ssm_dt_norm", "ssm_norm"} & dimensions.keys() else "plain" if first and _plain(fields) else "none"
    return Mamba(
        version=1 if first else 2,
        inner_size=inner,
        state_size=state,
        conv_size=conv,
        time_step_rank=steps if first else 0,
        heads=0 if first else steps,
        groups=1 if first else groups,
        norm=norm,
        layers=found,
    )


def _plain(fields: Metadata) -> bool:
    """Falcon Mamba norms what drives the scan, and its files say so."""
    return fields.header.fields.get(f"{fields.architecture}.ssm.dt_b_c_rms") is True
