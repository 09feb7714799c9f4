"""Models laid out as tensors and caches: parameter counts of every bundled model, and shapes by hand."""

from pathlib import Path

import pytest

from runlocal.architectures import ARCHITECTURES, CHECKPOINTS, has_gguf, layout
from runlocal.catalog.models import bundled
from runlocal.core.cache import Cache, CacheKind
from runlocal.core.errors import Code, Problem
from runlocal.core.layout import Layout
from runlocal.core.model import NextTokens
from runlocal.core.tensor import Tensor

IDS = sorted(path.stem for path in (Path(__file__).parents[2] / "data" / "models").rglob("*.toml"))


def laid(model_id: str) -> Layout:
    return layout(bundled(model_id))


def tensors(model_id: str) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for tensor in laid(model_id).tensors():
        found.setdefault(tensor.role, []).append(tensor)
    return found


def caches(model_id: str) -> dict[CacheKind, Cache]:
    return {cache.kind: cache for cache in laid(model_id).caches()}


@pytest.mark.parametrize("model_id", IDS)
def test_computed_parameters_are_those_published(model_id: str) -> None:
    """To the digit; where not, the file says why, and the difference is less than 0.01 %."""
    model = bundled(model_id)
    computed, published = layout(model).parameters() + model.tower_parameters, model.parameters.published
    if model.parameters.exception is None:
        assert computed == published
    elif published is None:
        assert f"{computed:,}" in model.parameters.exception
    else:
        assert computed != published, "the exception is none any more"
        assert abs(computed - published) < 1e-4 * published


def test_kimi_k3_reaches_the_published_total() -> None:
    """What GGUF files leave out, by hand: tower and projector without biases, half of each pair of vectors of the mixes, the padding of the decays."""
    tower = 1024 * 3 * 14**2 + 4096 * 1024 + 27 * (2 * 1024 + 4 * 1024 * 12 * 128 + 2 * 1024 * 4096) + 1024
    projector = 4096**2 + 4096 * 7168 + 7168
    mixes, decays = (2 * 93 + 1) * 7168, 69 * (128 - 96)
    assert (tower, projector, mixes, decays) == (401_214_464, 46_144_512, 1_340_416, 2_208)
    assert layout(bundled("kimi-k3-2.8t-a104b")).parameters() + tower + projector + mixes + decays == 2_779_931_837_184


# The last matrix of what mixes a layer's tokens, and of what works on each of them.
MIXING = ("attn_output", "attn_output_b", "cross_attn_o_proj", "ssm_out", "shortconv.out_proj", "time_mix_output")
WORKING = ("ffn_down", "ffn_down_exps")


@pytest.mark.parametrize("model_id", IDS)
def test_every_running_layer_has_the_blocks_that_the_spec_names(model_id: str) -> None:
    found, text = laid(model_id), bundled(model_id).text
    everywhere = set(range(text.layers))
    mixing, working = ({layer for t in found.tensors() if t.role in roles and found.runs(t) for layer in t.layers} for roles in (MIXING, WORKING))
    with_state = set(range(text.layers) if text.mamba and text.mamba.layers is None else text.mamba.layers or ()) if text.mamba else set()
    with_state |= set(range(text.layers) if text.rwkv else ())
    with_state |= set(text.short_conv.layers if text.short_conv else ())
    assert mixing == (everywhere if text.attention_layers is None else with_state | set(text.attention_layers))
    assert working == (set() if not text.intermediate_size and not text.experts else everywhere if text.mlp_layers is None else set(text.mlp_layers))
    # A search for a smaller model may leave nothing of a layer.
    assert mixing | working == everywhere or text.intermediate_sizes
    keeping = set() if found.encoder else {layer for layer in mixing if layer < text.layers - text.shared_kv_layers}
    assert {layer for cache in found.caches() if cache.k_values or cache.v_values for layer in cache.layers} == keeping


def test_some_layers_of_glm_5_2_share_an_indexer() -> None:
    """`indexer_types` of its config.json: the first three and from 6 on every fourth layer have one, and so has the next-token layer."""
    own = (0, 1, 2, *range(6, 78, 4))
    found = caches("glm-5.2-744b")
    assert found[CacheKind.INDEXER] == Cache(kind=CacheKind.INDEXER, layers=own, k_values=128, v_values=0)
    (keys,) = (tensor for tensor in tensors("glm-5.2-744b")["indexer.attn_k"] if not tensor.skipped)
    assert keys.layers == own
    (ahead,) = (tensor for tensor in tensors("glm-5.2-744b")["indexer.attn_k"] if tensor.skipped)
    assert ahead.layers == (78,)
    assert sum(len(cache.layers) for cache in laid("glm-5.2-744b").caches() if cache.kind is CacheKind.LATENT) == 78


def test_deepseek_v4_keeps_a_window_and_one_cell_for_several_tokens() -> None:
    """`compress_ratios` of V4 Flash: none in the first two layers, then 4 and 128 in turn; an indexer where it is 4."""
    kept = laid("deepseek-v4-flash-284b").caches()
    windows = [cache for cache in kept if cache.kind is CacheKind.SLIDING]
    assert sorted(layer for cache in windows for layer in cache.layers) == list(range(43))
    assert {(cache.k_values, cache.v_values, cache.window_tokens) for cache in windows} == {(512, 0, 128)}
    compressed = {cache.ratio: cache for cache in kept if cache.kind is CacheKind.COMPRESSED}
    assert {ratio: (cache.layers, cache.k_values) for ratio, cache in compressed.items()} == {
        4: (tuple(range(2, 43, 2)), 512),
        128: (tuple(range(3, 43, 2)), 512),
    }
    (indexer,) = (cache for cache in kept if cache.kind is CacheKind.INDEXER)
    assert (indexer.layers, indexer.k_values, indexer.ratio) == (compressed[4].layers, 128, 4)
    states = {(cache.layers[0], cache.k_values, cache.v_values) for cache in kept if cache.kind is CacheKind.RECURRENT}
    assert states == {(2, 8 * 1024, 8 * 1024), (2, 8 * 256, 8 * 256), (3, 128 * 512, 128 * 512)}


def test_every_architecture_is_used_or_made_for_a_file_of_the_users() -> None:
    used = {bundled(model_id).architecture for model_id in IDS}
    assert not used - set(ARCHITECTURES) - set(CHECKPOINTS)
    assert set(CHECKPOINTS) <= used, "what no file of the user's can be of is there for a bundled model"
    assert {model_id for model_id in IDS if bundled(model_id).architecture in CHECKPOINTS} == {model_id for model_id in IDS if not has_gguf(bundled(model_id))}


def test_florence_2_by_hand() -> None:
    """BART of 6 + 6 layers and width 768: one embedding for both halves, 1,024 + 2 positions for each, an offset for every logit."""
    attention = 4 * (768 * 768 + 768)
    mlp = (768 * 3072 + 3072) + (3072 * 768 + 768)
    norm = 2 * 768
    outer = 51_289 * 768 + 2 * (1026 * 768 + norm) + 51_289
    assert laid("florence-2-base").parameters() == outer + 6 * (attention + mlp + 2 * norm) + 6 * (2 * attention + mlp + 3 * norm) == 140_258_137
    found = caches("florence-2-base")
    every = tuple(range(6))
    assert found[CacheKind.FULL] == Cache(kind=CacheKind.FULL, layers=every, k_values=768, v_values=768, heads=12)
    assert found[CacheKind.ENCODED] == Cache(kind=CacheKind.ENCODED, layers=every, k_values=768, v_values=768, heads=12)


def test_a_token_of_an_answer_does_not_read_the_encoder() -> None:
    whole, encoder = laid("florence-2-base"), [tensor for tensor in laid("florence-2-base").tensors() if tensor.role.startswith("enc.")]
    assert whole.active_parameters(0) == whole.parameters() - sum(tensor.elements * tensor.count for tensor in encoder)


def test_adapters_stand_beside_every_matrix_of_the_layers_and_nothing_else() -> None:
    """Rank 16 of Meta's QLoRA checkpoints, 2048 x 2048, 2048 x 512 twice, 2048 x 2048, and three matrices of 2048 x 8192."""
    a_layer = 16 * (4096 + 2560 + 2560 + 4096 + 3 * 10_240)
    assert laid("llama-3.2-1b-qlora-int4").parameters() - laid("llama-3.2-1b").parameters() == 16 * a_layer == 11_272_192
    beside = {role.partition(".lora")[0] for role in tensors("llama-3.2-1b-qlora-int4") if ".lora" in role}
    assert beside == {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}
    assert caches("llama-3.2-1b-qlora-int4") == caches("llama-3.2-1b")


def test_ernie_4_5_vl_by_hand() -> None:
    """The text model of 21B and, in 27 of 28 layers, a second router with 64 experts of 512, which no text token reads."""
    bank = 64 * 3 * 2560 * 512 + 64 * 2560 + 64
    found, text = laid("ernie-4.5-vl-28b-a3b"), laid("ernie-4.5-21b-a3b")
    assert found.parameters() == text.parameters() + 27 * bank == 21_825_437_888 + 6_799_197_888
    assert found.active_parameters(6) == text.active_parameters(6)
    assert {role for role in tensors("ernie-4.5-vl-28b-a3b") if role.startswith("image.")} == {
        "image.ffn_gate_inp",
        "image.exp_probs_b.bias",
        "image.ffn_up_exps",
        "image.ffn_down_exps",
        "image.ffn_gate_exps",
    }


def test_tower_of_ernie_4_5_vl_by_hand() -> None:
    """32 blocks of 1280 and 5120; four patches of 5120 through two matrices, two frames of them through two more, and one to 2560."""
    vision = bundled("ernie-4.5-vl-28b-a3b").vision
    assert vision is not None
    d, four = 1280, 4 * 1280
    block = 4 * (d * d + d) + (d * 5120 + 5120) + (5120 * d + d) + 2 * 2 * d
    assert vision.tower_parameters == 588 * d + 32 * block + 2 * d
    space = 2 * (four * four + four) + 2 * four
    time = (2 * four * four + four) + (four * four + four) + 2 * four
    assert vision.projector_parameters == space + time + (four * 2560 + 2560) + 2560


def test_grok_2_by_hand() -> None:
    """64 layers: 64 heads of 128 and 8 for keys and values, an MLP of 32,768 beside 8 experts of 16,384, four norms; the output is no embedding."""
    d = 8192
    attention = d * (8192 + 2 * 1024 + 8192)
    layer = attention + 3 * d * 32_768 + 8 * 3 * d * 16_384 + 8 * d + 4 * d
    assert laid("grok-2-270b").parameters() == 64 * layer + 2 * 131_072 * d + d == 269_515_497_472


def test_longcat_flash_by_hand() -> None:
    """28 layers: latent attention, two norms and an MLP of 12,288 twice, 512 experts of 2,048, and a router of 768 for them and 256 without weights."""
    d = 6144
    attention = d * 1536 + 1536 + 1536 * 64 * 192 + d * (512 + 64) + 512 + 512 * 64 * (128 + 128) + 64 * 128 * d
    mlp = 3 * d * 12_288
    layer = 2 * (attention + mlp + 2 * d) + 512 * 3 * d * 2048 + 768 * d + 768
    assert laid("longcat-flash-560b-a27b").parameters() == 28 * layer + 2 * 131_072 * d + d == 560_664_980_480
    ahead = 2 * d * d + attention + mlp + 131_072 * d + 5 * d  # the next token: two halves joined, one layer, norms, an embedding
    assert bundled("longcat-flash-560b-a27b").parameters.next_tokens == ahead == 1_197_899_776
    assert 560_664_980_480 + ahead == 561_862_880_256
    found = caches("longcat-flash-560b-a27b")
    assert found[CacheKind.LATENT].layers == tuple(range(56)) and found[CacheKind.LATENT].k_values == 512 + 64


def test_speech_encoder_of_phi_4_multimodal_by_hand() -> None:
    """24 conformer blocks of width 1024, and what makes one frame of eight: transformers, models/phi4_multimodal; two projectors to 3072.

    A table of 2 x 500 distances for 16 heads, and mean and deviation of 80 bands.
    """
    d = 1024
    mlp = 2 * d + (d * 3072 + 3072) + (1536 * d + d)
    convolution = 2 * d + (d * 2 * d + 2 * d) + 2 * d + (3 * d + d) + 2 * (d * d + d)
    block = 2 * mlp + 4 * (d * d + d) + convolution + 2 * 2 * d
    frames = (9 * d + d) + 2 * ((9 * d + d) + (d * d + d)) + (10 * d * d + d)
    projectors = 2 * ((d * 3072 + 3072) + (3072 * 3072 + 3072))
    audio = bundled("phi-4-multimodal-5.6b").audio
    assert audio is not None
    assert audio.parameters == 24 * block + frames + projectors + 2 * 500 * 16 + 2 * 80 == 466_416_416


def test_adapters_of_phi_4_multimodal_by_hand() -> None:
    """Ranks of 256 (images) and 320 (speech) beside the fused matrices of 32 layers."""
    sides = (3072 + 5120) + (3072 + 3072) + (3072 + 16_384) + (8192 + 3072)
    found = laid("phi-4-multimodal-5.6b").parameters() - laid("phi-4-mini").parameters()
    assert found == 32 * (256 + 320) * sides == 830_472_192
    assert laid("phi-4-multimodal-5.6b").active_parameters(0) == laid("phi-4-mini").active_parameters(0), "text goes without"
    assert laid("llama-3.2-1b-qlora-int4").active_parameters(0) > laid("llama-3.2-1b").active_parameters(0), "one adapter is part of the model"


def test_llama_guard_3_in_int4_by_hand() -> None:
    """12 layers, an MLP of 6,400, and 20 rows of the output matrix (https://github.com/meta-llama/PurpleLlama, Llama-Guard3/1B/MODEL_CARD.md)."""
    a_layer = 2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 6400 + 2 * 2048
    assert laid("llama-guard-3-1b-int4").parameters() == 128_256 * 2048 + 12 * a_layer + 2048 + 20 * 2048
    assert round((128_256 * 2048 * 2 + 12 * a_layer + 2048) / 1e6) == 1123, "with all rows: what the card says"


def test_an_architecture_that_nothing_lays_out_is_an_error() -> None:
    with pytest.raises(Problem) as problem:
        layout(bundled("llama-3.1-8b")._replace(architecture="never-heard-of"))
    assert problem.value.code is Code.NOT_COMPUTED


def test_llama_3_1_8b_by_hand() -> None:
    """32 × (4096 × (4096 + 2 × 1024 + 4096) + 3 × 4096 × 14336 + 2 × 4096) + 2 × 128256 × 4096 + 4096 = 8,030,261,248."""
    layer = 4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336 + 2 * 4096
    assert 32 * layer + 2 * 128256 * 4096 + 4096 == laid("llama-3.1-8b").parameters() == 8_030_261_248
    found = tensors("llama-3.1-8b")
    assert [(t.columns, t.rows, t.count) for t in found["attn_v"]] == [(4096, 1024, 32)]
    assert [(t.columns, t.rows, t.count) for t in found["ffn_down"]] == [(14336, 4096, 32)]
    assert [(t.columns, t.rows) for t in found["rope_freqs"]] == [(64, 1)], "64 rotary factors, no parameters"
    assert caches("llama-3.1-8b") == {CacheKind.FULL: Cache(kind=CacheKind.FULL, layers=tuple(range(32)), k_values=1024, v_values=1024, heads=8)}


def test_active_parameters_of_the_90b() -> None:
    """80 self-attention layers, the final norm and the output matrix; no embedding lookup, no cross-attention layer, no tower.

    A layer: 8192 × (8192 + 2 × 1024 + 8192) + 3 × 8192 × 28672 + 2 × 8192 = 855,654,400.
    """
    layer = 8192 * (8192 + 2 * 1024 + 8192) + 3 * 8192 * 28672 + 2 * 8192
    assert layer == 855_654_400
    assert 80 * layer + 8192 + 128256 * 8192 == 69_503_033_344
    assert laid("llama-3.2-90b-vision").active_parameters(0) == 69_503_033_344


def test_active_parameters_of_the_11b() -> None:
    layer = 4096 * (4096 + 2 * 1024 + 4096) + 3 * 4096 * 14336 + 2 * 4096
    assert laid("llama-3.2-11b-vision").active_parameters(0) == 32 * layer + 4096 + 128256 * 4096
    assert laid("llama-3.2-11b-vision").active_parameters(0) == pytest.approx(7.51e9, rel=0.001)


@pytest.mark.parametrize(
    ("model_id", "published"),
    [
        ("qwen3-30b-a3b", 3.3e9),
        ("mixtral-8x7b", 12.9e9),
        ("gpt-oss-20b", 3.6e9),
        ("gpt-oss-120b", 5.1e9),
        ("deepseek-r1-671b", 37e9),
        ("glm-4.5-air-106b", 12e9),
    ],
)
def test_active_parameters_are_what_vendors_say(model_id: str, published: float) -> None:
    """Vendors count the embedding in some of these, and round: within a tenth."""
    model = bundled(model_id)
    assert model.text.experts is not None
    assert layout(model).active_parameters(model.text.experts.used) == pytest.approx(published, rel=0.1)


def test_tied_embeddings_are_read_once_per_token() -> None:
    """Llama 3.2 1B has no output matrix: the embedding is it, and is read whole for every token."""
    found = laid("llama-3.2-1b")
    assert "output" not in tensors("llama-3.2-1b")
    assert found.active_parameters(0) == found.parameters() == 1_235_814_400


def test_mllama_by_hand() -> None:
    """Every fifth layer from 3 on is a cross-attention layer: its keys and values are of 4 tiles of 1601 tokens, the rest is Llama's."""
    found = caches("llama-3.2-90b-vision")
    crossing = tuple(range(3, 100, 5))
    assert found[CacheKind.CROSS] == Cache(kind=CacheKind.CROSS, layers=crossing, k_values=1024, v_values=1024, cells=6404, heads=8)
    assert found[CacheKind.FULL].layers == tuple(layer for layer in range(100) if layer not in crossing)
    shapes = tensors("llama-3.2-90b-vision")
    assert [(t.columns, t.rows, t.count) for t in shapes["cross_attn_q_proj"]] == [(8192, 8192, 20)]
    assert [(t.columns, t.rows, t.count) for t in shapes["cross_attn_k_proj"]] == [(8192, 1024, 20)]
    assert [(t.columns, t.rows, t.count) for t in shapes["attn_q"]] == [(8192, 8192, 80)]
    assert [t.count for t in shapes["ffn_up"]] == [100]
    assert shapes["token_embd"][0].rows == 128256 + 8


def test_latent_attention_keeps_576_values() -> None:
    """512 of the latent and 64 rotary, whatever the 128 heads; no V."""
    found = caches("deepseek-r1-671b")
    assert found == {CacheKind.LATENT: Cache(kind=CacheKind.LATENT, layers=tuple(range(61)), k_values=576, v_values=0)}
    shapes = tensors("deepseek-r1-671b")
    assert [(t.columns, t.rows, t.copies) for t in shapes["attn_k_b"]] == [(128, 512, 128)]
    assert [(t.columns, t.rows, t.copies) for t in shapes["attn_v_b"]] == [(512, 128, 128)]


def test_windows_of_gemma_3() -> None:
    """Five of six layers see 1024 tokens: of 62 layers the ten at 5, 11, …, 59 see everything."""
    found = caches("gemma-3-27b")
    assert found[CacheKind.FULL].layers == tuple(range(5, 62, 6))
    assert len(found[CacheKind.SLIDING].layers) == 52
    assert found[CacheKind.SLIDING].window_tokens == 1024


def test_windows_of_gpt_oss_alternate() -> None:
    found = caches("gpt-oss-20b")
    assert found[CacheKind.SLIDING].layers == tuple(range(0, 24, 2))
    assert found[CacheKind.SLIDING].window_tokens == 128


def test_chunks_of_llama_4() -> None:
    found = caches("llama-4-scout-17b-16e")
    assert found[CacheKind.CHUNKED].window_tokens == 8192
    assert found[CacheKind.FULL].layers == tuple(range(3, 48, 4))


def test_a_multi_token_prediction_layer_is_stored_and_not_loaded() -> None:
    """GLM-4.5-Air: layer 46 stands in the file with its own projections, counts for the recipes, and takes no memory and no cache."""
    found = laid("glm-4.5-air-106b")
    assert (found.layers, found.stored_layers) == (46, 47)
    skipped = [tensor for tensor in found.tensors() if tensor.skipped]
    assert {layer for tensor in skipped for layer in tensor.layers} == {46}
    assert {"nextn.eh_proj", "nextn.embed_tokens", "ffn_up_exps", "attn_q"} <= {tensor.role for tensor in skipped}
    assert max(layer for cache in found.caches() for layer in cache.layers) == 45


def test_experts_of_a_next_token_layer_are_loaded_where_the_loader_does_not_skip_them() -> None:
    """Hy3: of layer 80 only attention, norms and projection are left out; 218,170,368 bytes of a file in BF16."""
    found = laid("hy3-295b-a21b")
    skipped = [tensor for tensor in found.tensors() if tensor.skipped]
    assert {layer for tensor in skipped for layer in tensor.layers} == {80}
    assert sum(tensor.elements * (2 if tensor.quantizable else 4) for tensor in skipped) == 218_170_368
    assert max(layer for cache in found.caches() for layer in cache.layers) == 79
    assert found.parameters() == 295_033_543_488


def test_experts_are_one_tensor_per_matrix() -> None:
    """Qwen3-30B-A3B: 128 experts of 768, 48 layers, a router in F32."""
    shapes = tensors("qwen3-30b-a3b")
    assert [(t.columns, t.rows, t.copies, t.count) for t in shapes["ffn_up_exps"]] == [(2048, 768, 128, 48)]
    assert [(t.columns, t.rows, t.copies, t.count) for t in shapes["ffn_down_exps"]] == [(768, 2048, 128, 48)]
    assert [(t.columns, t.rows, t.quantizable) for t in shapes["ffn_gate_inp"]] == [(2048, 128, False)]


def test_leading_dense_layers() -> None:
    """DeepSeek-R1: three dense layers, then 256 experts and a shared one."""
    shapes = tensors("deepseek-r1-671b")
    assert [t.layers for t in shapes["ffn_down"]] == [(0, 1, 2)]
    assert [t.layers for t in shapes["ffn_down_exps"]] == [tuple(range(3, 61))]
    assert [t.layers for t in shapes["ffn_down_shexp"]] == [tuple(range(3, 61))]


def test_layers_of_nemotron_h_have_one_block_and_behind_them_one_with_two() -> None:
    """Nemotron 3 Super: MEMEMEM*E…; experts work in 1024 values; the layer for several tokens has attention, experts and a norm before each."""
    shapes, found = tensors("nemotron-3-super-120b-a12b"), caches("nemotron-3-super-120b-a12b")
    assert found[CacheKind.FULL].layers == (7, 16, 25, 36, 47, 58, 69, 78)
    assert found[CacheKind.RECURRENT].k_values == 3 * (8192 + 2 * 8 * 128)
    assert found[CacheKind.RECURRENT].v_values == 128 * 8192
    assert [(t.columns, t.rows, t.copies) for t in shapes["ffn_up_exps"]] == [(1024, 2688, 512)] * 2
    assert [(t.columns, t.rows) for t in shapes["ffn_latent_down"]] == [(4096, 1024)] * 2
    behind = {tensor.role for tensor in laid("nemotron-3-super-120b-a12b").tensors() if tensor.layers == (88,)}
    assert {"attn_q", "ffn_down_exps", "attn_norm", "post_attention_norm", "nextn.eh_proj"} <= behind
    assert laid("nemotron-3-super-120b-a12b").kv_group == 0, "layer 0 has no attention"


def test_layers_of_falcon_h1_keep_a_state_and_a_cache() -> None:
    found = caches("falcon-h1-7b")
    assert found[CacheKind.FULL].layers == found[CacheKind.RECURRENT].layers == tuple(range(44))


def test_jamba_norms_what_drives_its_scan() -> None:
    shapes = tensors("jamba-mini-52b")
    assert [(t.columns, t.count) for t in shapes["ssm_dt_norm"]] == [(256, 28)]
    assert [t.layers for t in shapes["ffn_down_exps"]] == [tuple(range(1, 32, 2))]
    assert "ssm_dt_norm" not in tensors("falcon-mamba-7b")


def test_fused_matrices_of_phi() -> None:
    """Phi-4: Q, K and V in one matrix of 5120 + 2 × 1280 rows, gate and up in one of 2 × 17920."""
    shapes = tensors("phi-4-14b")
    assert [(t.columns, t.rows) for t in shapes["attn_qkv"]] == [(5120, 5120 + 2 * 1280)]
    assert [(t.columns, t.rows) for t in shapes["ffn_up"]] == [(5120, 2 * 17920)]
    assert "ffn_gate" not in shapes


def test_a_next_token_layer_of_k_exaone_is_dense_and_shares_the_embedding() -> None:
    behind = {tensor.role for tensor in laid("k-exaone-236b-a23b").tensors() if tensor.layers == (48,)}
    assert {"nextn.eh_proj", "nextn.shared_head_norm"} <= behind
    assert "nextn.embed_tokens" not in behind
    dense = {layer for tensor in tensors("k-exaone-236b-a23b")["ffn_down"] for layer in tensor.layers}
    assert dense == {0, 48}


def test_a_next_token_layer_of_ling_has_experts_and_a_norm_of_its_own() -> None:
    model = bundled("ling-mini-2.0-16b-a1.4b")
    text = model.text._replace(next_tokens=NextTokens(layers=1, in_gguf=True, shared_embeddings=True))
    behind = {tensor.role for tensor in layout(model._replace(text=text)).tensors() if 20 in tensor.layers}
    assert {"attn_qkv", "ffn_down_exps", "layer_output_norm", "nextn.hnorm"} <= behind
    assert not {"nextn.shared_head_norm", "nextn.embed_tokens"} & behind
