"""Writes GGUF headers by hand, without the reader's own code: what is read back must be what was meant."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runlocal.core.layout import Layout
from runlocal.core.model import ModelSpec
from runlocal.quants.gguf import Stored

U8, U32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 6, 7, 8, 9, 10
NUMBERS = {"F32": 0, "F16": 1, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14, "Q5_K": 13, "I32": 26, "BF16": 30, "MXFP4": 39}

Dimensions = Sequence[int]


class Writer:
    """A GGUF header in the making: `field`, `tensor`, then `bytes`."""

    def __init__(self, version: int = 3, order: str = "<", alignment: int = 32) -> None:
        self.version, self.order, self.alignment = version, order, alignment
        self.fields: list[bytes] = []
        self.tensors: list[bytes] = []
        self.offset = 0

    def pack(self, code: str, *values: Any) -> bytes:
        return struct.pack(self.order + code, *values)

    def string(self, text: str | bytes) -> bytes:
        raw = text if isinstance(text, bytes) else text.encode()
        return self.pack("Q", len(raw)) + raw

    def field(self, key: str, value: Any) -> "Writer":
        self.fields.append(self.string(key) + self.value(value))
        return self

    def value(self, value: Any) -> bytes:
        match value:
            case bool():
                return self.pack("IB", BOOL, value)
            case int():
                return self.pack("II", U32, value) if value < 1 << 32 else self.pack("IQ", U64, value)
            case float():
                return self.pack("If", F32, value)
            case str() | bytes():
                return self.pack("I", STRING) + self.string(value)
            case [] | [str() | bytes(), *_]:
                return self.pack("IIQ", ARRAY, STRING, len(value)) + b"".join(self.string(entry) for entry in value)
            case [bool(), *_]:
                return self.pack(f"IIQ{len(value)}?", ARRAY, BOOL, len(value), *value)
            case [float(), *_]:
                return self.pack(f"IIQ{len(value)}f", ARRAY, F32, len(value), *value)
            case _:
                return self.pack(f"IIQ{len(value)}I", ARRAY, U32, len(value), *value)

    def tensor(self, name: str, dimensions: Dimensions, kind: int = 1, size: int = 32) -> "Writer":
        self.tensors.append(self.string(name) + self.pack(f"I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, self.offset))
        self.offset += -(-size // self.alignment) * self.alignment
        return self

    def bytes(self, tensor_count: int | None = None, field_count: int | None = None, data: int = 0) -> bytes:
        counts = len(self.tensors) if tensor_count is None else tensor_count, len(self.fields) if field_count is None else field_count
        head = b"GGUF" + self.pack("IQQ", self.version, *counts) + b"".join(self.fields) + b"".join(self.tensors)
        return head + bytes(-len(head) % self.alignment) + bytes(data)


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def keys(model: ModelSpec, layout: Layout) -> Mapping[str, Any]:
    """The fields that llama.cpp's converter writes for the model (conversion/base.py and the family's own file)."""
    text, prefix = model.text, layout.architecture
    fields: dict[str, Any] = {
        "context_length": model.context.native_tokens,
        "embedding_length": text.hidden_size,
        "block_count": layout.stored_layers,
        "feed_forward_length": text.intermediate_size,
        "attention.head_count": text.heads,
        "attention.head_count_kv": 1 if text.latent else text.kv_heads,
        "rope.dimension_count": text.rope_dimensions or text.head_dim,
    }
    if latent := text.latent:
        fields |= {
            "attention.kv_lora_rank": latent.kv_lora_rank,
            "attention.key_length": latent.kv_lora_rank + latent.qk_rope_head_dim,
            "attention.value_length": latent.kv_lora_rank,
            "attention.key_length_mla": latent.qk_nope_head_dim + latent.qk_rope_head_dim,
            "attention.value_length_mla": latent.v_head_dim,
            "rope.dimension_count": latent.qk_rope_head_dim,
        }
        if prefix == "minicpm3":
            key_dim = latent.qk_nope_head_dim + latent.qk_rope_head_dim
            fields |= {"attention.head_count_kv": text.kv_heads, "attention.key_length": key_dim, "attention.value_length": latent.v_head_dim}
            del fields["attention.key_length_mla"], fields["attention.value_length_mla"]
        if latent.q_lora_rank:
            fields["attention.q_lora_rank"] = latent.q_lora_rank
    else:
        fields |= {"attention.key_length": text.head_dim, "attention.value_length": text.value_dim or text.head_dim}
    if text.intermediate_sizes:
        attending = set(text.attention_layers or range(text.layers))
        fields |= {
            "feed_forward_length": list(text.intermediate_sizes),
            "attention.head_count": [text.heads if layer in attending else 0 for layer in range(text.layers)],
            "attention.head_count_kv": [text.kv_heads if layer in attending else 0 for layer in range(text.layers)],
        }
    if text.pooling:
        fields |= {"attention.causal": not layout.encoder, "pooling_type": {"mean": 1, "cls": 2, "last": 3}[text.pooling]}
    if indexer := text.indexer:
        fields |= {
            "attention.indexer.head_count": indexer.heads,
            "attention.indexer.key_length": indexer.head_dim,
            "attention.indexer.top_k": indexer.top_k,
        }
        if indexer.block_tokens:
            fields["attention.indexer.block_size"] = indexer.block_tokens
        if indexer.pool_tokens and text.kimi_delta:
            fields["attention.indexer.kpool"] = indexer.pool_tokens
        elif indexer.pool_tokens and text.delta_net:
            fields["attention.compress_ratios"] = [0 if layer in text.delta_net.layers else indexer.pool_tokens for layer in range(text.layers)]
    if kimi := text.kimi_delta:
        fields |= {
            "attention.head_count_kv": [0 if layer in kimi.layers else 1 for layer in range(layout.stored_layers)],
            "kda.head_dim": kimi.head_dim,
            "ssm.conv_kernel": kimi.conv_size,
        }
    if text.residual_block:
        fields["attn_res.block_size"] = text.residual_block
    if text.hc_mult > 1:
        fields["hyper_connection.count"] = text.hc_mult
    if ngrams := text.ngrams:
        fields |= {
            "hyper_connection.low_rank": text.hc_low_rank,
            "ple.layers": [ngrams.layer],
            "ple.ngram_size": ngrams.size,
            "ple.heads_per_ngram": ngrams.heads,
            "ple.conv_kernel": ngrams.conv_size,
        }
    if compressed := text.compressed:
        fields |= {
            "attention.q_lora_rank": compressed.q_lora_rank,
            "attention.output_group_count": compressed.o_groups,
            "attention.output_lora_rank": compressed.o_lora_rank,
            "attention.compress_ratios": [*compressed.compress_ratios, 0],
            "hyper_connection.count": text.hc_mult,
        }
    if not text.deepstack:
        fields["n_deepstack_layers"] = 0
    if text.experts:
        fields |= {"expert_count": text.experts.count, "expert_used_count": text.experts.used}
    if text.norm.startswith("layernorm"):
        fields["attention.layer_norm_epsilon"] = 1e-5
    if layout.stored_layers > layout.layers:
        fields["nextn_predict_layers"] = layout.stored_layers - layout.layers
    if delta := text.delta_net:
        fields |= {
            "ssm.conv_kernel": delta.conv_size,
            "ssm.group_count": delta.key_heads,
            "ssm.inner_size": delta.value_heads * delta.head_dim,
            "ssm.state_size": delta.head_dim,
            "ssm.time_step_rank": delta.value_heads,
        }
    if mamba := text.mamba:
        fields |= {
            "ssm.conv_kernel": mamba.conv_size,
            "ssm.inner_size": mamba.inner_size,
            "ssm.state_size": mamba.state_size,
            "ssm.time_step_rank": mamba.time_step_rank or mamba.heads,
        }
        if mamba.version > 1:
            fields["ssm.group_count"] = mamba.groups
        if mamba.norm == "plain":
            fields["ssm.dt_b_c_rms"] = True
        if mamba.layers is not None:
            attending = set(text.attention_layers or set(range(text.layers)).difference(mamba.layers)) | set(range(text.layers, layout.stored_layers))
            fields["attention.head_count_kv"] = [text.kv_heads if layer in attending else 0 for layer in range(layout.stored_layers)]
        if text.mlp_layers:
            width = text.intermediate_size or (text.experts.intermediate_size if text.experts else 0)
            fields["feed_forward_length"] = [width if layer in text.mlp_layers else 0 for layer in range(layout.stored_layers)]
        if text.experts and text.experts.latent_size:
            fields["moe_latent_size"] = text.experts.latent_size
        if not text.heads:
            for key in ("attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count"):
                del fields[key]
    if text.window:
        fields["attention.sliding_window"] = text.window.tokens
        windowed = [layer not in text.window.full_layers for layer in range(layout.stored_layers)]
        if prefix in ("exaone4", "gemma4", "mimo2", "olmo2", "step35"):
            fields["attention.sliding_window_pattern"] = windowed
        if text.window.heads:
            fields["attention.head_count"] = [text.window.heads if local else text.heads for local in windowed]
        if text.window.kv_heads:
            fields["attention.head_count_kv"] = [text.window.kv_heads if local else text.kv_heads for local in windowed]
    if text.short_conv:
        fields["attention.head_count_kv"] = [0 if layer in text.short_conv.layers else text.kv_heads for layer in range(text.layers)]
        fields["shortconv.l_cache"] = text.short_conv.conv_size
    if prefix in ("gemma3n", "gemma4"):
        fields["attention.shared_kv_layers"] = text.shared_kv_layers
        fields["embedding_length_per_layer_input"] = text.hidden_size_per_layer_input
    if prefix == "gemma4" and text.window:
        fields["attention.key_length_swa"] = fields["attention.value_length_swa"] = text.window.head_dim
        if text.double_wide_mlp:
            wide = text.layers - text.shared_kv_layers
            fields["feed_forward_length"] = [text.intermediate_size * (2 if layer >= wide else 1) for layer in range(text.layers)]
    return {"general.architecture": prefix} | {f"{prefix}.{key}": value for key, value in fields.items()}


def file_of(model: ModelSpec, layout: Layout, stored: Sequence[Stored]) -> Writer:
    """A file as the converter and quantizer would write it, header alone."""
    writer = Writer()
    for key, value in keys(model, layout).items():
        writer.field(key, value)
    for part in stored:
        tensor = part.tensor
        short = tensor.role.startswith("ssm_conv1d_")
        shape = [tensor.columns, 1, tensor.rows] if short else [tensor.columns, tensor.rows, tensor.copies]
        while len(shape) > 1 and shape[-1] == 1:
            shape.pop()
        suffix = "" if tensor.role.endswith((".bias", ".scale")) or tensor.role in ("ssm_a", "ssm_d") else ".weight"
        for layer in tensor.layers or (None,):
            role = "token_embd_norm" if model.text.short_conv and tensor.role == "output_norm" else tensor.role
            name = f"{role}{suffix}" if layer is None else f"blk.{layer}.{role}{suffix}"
            writer.tensor(name, shape, NUMBERS[part.type.name], part.tensor_bytes)
    return writer
