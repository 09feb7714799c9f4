"""Classes of Hugging Face's transformers and the architecture that llama.cpp's converter makes of them.

What a class hard-codes or takes by default where config.json is silent is from its `configuration_*.py` and `modeling_*.py`
(https://github.com/huggingface/transformers/tree/main/src/transformers/models); the names from llama.cpp's conversion/*.py.
"""

from collections.abc import Mapping

from runlocal.sources.family import Family, Mixture, Sliding

_LLAMA = Family("llama", qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias")
_QWEN2 = Family("qwen2", qkv_bias=True, sliding=Sliding.SWITCHED)
_QWEN3 = Family("qwen3", qkv_bias="attention_bias", output_bias="attention_bias", qk_norm="head", sliding=Sliding.SWITCHED, defaults={"head_dim": 128})
_QWEN3_MOE = _QWEN3._replace(architecture="qwen3moe", mixture=Mixture.QWEN, defaults={})
_BERT = Family("bert", qkv_bias=True, output_bias=True, mlp_bias=True, gated_mlp=False, norm="layernorm", tied=True)
_MINIMAX_01 = Family("minimax-01", mixture=Mixture.MIXTRAL)
_RWKV = Family("rwkv6", norm="layernorm")
_MISTRAL = Family("llama", sliding=Sliding.EVERY)
_COHERE = Family(
    "command-r",
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    norm="layernorm_no_bias",
    norms_per_layer=1,
    qk_norm="per_head",
    qk_norm_key="use_qk_norm",
    tied=True,
)
_GEMMA = Family("gemma", qkv_bias="attention_bias", output_bias="attention_bias", tied=True, defaults={"head_dim": 256})
_GEMMA2 = _GEMMA._replace(architecture="gemma2", norms_per_layer=4, sliding=Sliding.PATTERN, pattern=2)
_GEMMA3 = _GEMMA2._replace(
    architecture="gemma3",
    qk_norm="head",
    pattern=6,
    defaults={
        "head_dim": 256,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "sliding_window": 4096,
    },
)
_GEMMA3N = _GEMMA3._replace(
    architecture="gemma3n",
    pattern=5,
    defaults={
        "head_dim": 256,
        "vocab_size": 262400,
        "max_position_embeddings": 32768,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "sliding_window": 512,
    },
)
_GEMMA4 = _GEMMA3._replace(architecture="gemma4", defaults={"head_dim": 256, "vocab_size": 262144, "max_position_embeddings": 131072, "sliding_window": 512})
_GLM4 = Family("glm4", qkv_bias="attention_bias", norms_per_layer=4, rotary=2)
_GLM4_MOE = Family(
    "glm4moe", qkv_bias="attention_bias", qk_norm="head", qk_norm_key="use_qk_norm", mixture=Mixture.DEEPSEEK, router_bias=True, next_tokens=True, rotary=2
)
_DEEPSEEK = Family("deepseek2", mixture=Mixture.DEEPSEEK, latent=True)
_DEEPSEEK_V3 = _DEEPSEEK._replace(router_bias=True, next_tokens=False)
_DEEPSEEK_V32 = _DEEPSEEK_V3._replace(architecture="deepseek32", indexer=True, next_tokens=True)
_KIMI_LINEAR = _DEEPSEEK._replace(architecture="kimi-linear", router_bias=True)
_NUMBERED_EXPERTS = {"n_routed_experts": "num_experts", "n_shared_experts": "num_shared_experts"}
_EXAONE_MOE = Family(
    "exaone-moe",
    qk_norm="head",
    mixture=Mixture.DEEPSEEK,
    router_bias=True,
    sliding=Sliding.PATTERN,
    pattern=4,
    next_tokens=True,
    shared_embeddings=True,
    names={**_NUMBERED_EXPERTS, "first_k_dense_replace": "first_last_k_dense_replace"},
)
_OLMO2 = Family("olmo2", qkv_bias="attention_bias", output_bias="attention_bias", qk_norm="full")
_GRANITE = Family("granite", qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias")
_HUNYUAN = Family("hunyuan-dense", qkv_bias="attention_bias", output_bias="attention_bias", qk_norm="head", qk_norm_key="use_qk_norm")
_ERNIE = Family("ernie4_5", qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias", tied=True)
_QWEN3_NEXT = Family(
    "qwen3next",
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    qk_norm="head",
    mixture=Mixture.QWEN,
    shared_gate=True,
    delta_net=True,
    rotary=1,
    defaults={
        "head_dim": 256,
        "full_attention_interval": 4,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_value_head_dim": 128,
    },
)
_QWEN35_MOE = _QWEN3_NEXT._replace(
    architecture="qwen35moe", next_tokens=True, shared_embeddings=True, names={"num_nextn_predict_layers": "mtp_num_hidden_layers"}
)
_LFM2 = {"vocab_size": 65536, "num_key_value_heads": 8, "max_position_embeddings": 128000, "conv_L_cache": 3, "block_multiple_of": 256}
_MAMBA = Family("mamba", norms_per_layer=1, tied=True)
_NEMOTRON_H = Family(
    "nemotron_h",
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    mlp_bias="mlp_bias",
    gated_mlp=False,
    norms_per_layer=1,
    next_tokens=True,
    shared_embeddings=True,
)
_MLLAMA = Family("mllama", qkv_bias=False)

FAMILIES: Mapping[str, Family] = {
    "ApertusForCausalLM": Family("apertus", qkv_bias="attention_bias", output_bias="attention_bias", gated_mlp=False, qk_norm="head"),
    "AfmoeForCausalLM": Family(
        "afmoe",
        norms_per_layer=4,
        qk_norm="head",
        mixture=Mixture.DEEPSEEK,
        router_bias=True,
        sliding=Sliding.PATTERN,
        pattern=4,
        defaults={"head_dim": 128},
        names={
            "n_routed_experts": "num_experts",
            "n_shared_experts": "num_shared_experts",
            "first_k_dense_replace": "num_dense_layers",
            "sliding_window_pattern": "global_attn_every_n_layers",
        },
    ),
    "ArceeForCausalLM": _LLAMA._replace(architecture="arcee", gated_mlp=False),
    "BailingMoeForCausalLM": Family("bailingmoe", qkv_bias="use_qkv_bias", output_bias="use_bias", mixture=Mixture.DEEPSEEK, names=_NUMBERED_EXPERTS),
    "BailingMoeV2ForCausalLM": Family(
        "bailingmoe2",
        qkv_bias="use_qkv_bias",
        output_bias="use_bias",
        qk_norm="head",
        mixture=Mixture.DEEPSEEK,
        router_bias=True,
        next_tokens=True,
        shared_embeddings=True,
        rotary=2,
        names=_NUMBERED_EXPERTS,
    ),
    "BertForMaskedLM": _BERT,
    "BertModel": _BERT,
    "BitNetForCausalLM": Family("bitnet", qkv_bias="attention_bias", output_bias="attention_bias"),
    "Cohere2ForCausalLM": _COHERE._replace(architecture="cohere2", qk_norm=None, sliding=Sliding.PATTERN, pattern=4),
    "Cohere2MoeForCausalLM": Family("cohere2moe", norms_per_layer=1, tied=True, mixture=Mixture.DEEPSEEK, sliding=Sliding.PATTERN),
    "CohereForCausalLM": _COHERE,
    "DbrxForCausalLM": Family("dbrx", norm="layernorm_no_bias", mixture=Mixture.MIXTRAL),
    "DeciLMForCausalLM": _LLAMA._replace(architecture="deci"),
    "DeepseekForCausalLM": Family("deepseek", qkv_bias="attention_bias", output_bias="attention_bias", mixture=Mixture.DEEPSEEK),
    "DeepseekOCRForCausalLM": Family("deepseek2-ocr", mixture=Mixture.DEEPSEEK),
    "DeepseekV2ForCausalLM": _DEEPSEEK,
    "DeepseekV32ForCausalLM": _DEEPSEEK_V32,
    "DeepseekV3ForCausalLM": _DEEPSEEK_V3,
    "DeepseekV4ForCausalLM": Family(
        "deepseek4", mixture=Mixture.DEEPSEEK, router_bias=True, sliding=Sliding.EVERY, indexer=True, compressed=True, next_tokens=False
    ),
    "Dots1ForCausalLM": Family("dots1", qkv_bias="attention_bias", output_bias="attention_bias", qk_norm="head", mixture=Mixture.DEEPSEEK, router_bias=True),
    "Ernie4_5ForCausalLM": _ERNIE,
    "Ernie4_5_MoeForCausalLM": _ERNIE._replace(architecture="ernie4_5-moe", mixture=Mixture.ERNIE, router_bias=True),
    "Exaone4ForCausalLM": Family("exaone4", qk_norm="head", sliding=Sliding.PATTERN, pattern=4),
    "ExaoneMoEForCausalLM": _EXAONE_MOE,
    "ExaoneMoeForCausalLM": _EXAONE_MOE,  # its name since transformers 5.1
    "ExaoneForCausalLM": Family("exaone", names={"num_hidden_layers": "num_layers"}),
    "FalconH1ForCausalLM": Family("falcon-h1", qkv_bias="attention_bias", output_bias="attention_bias", mlp_bias="mlp_bias"),
    "FalconMambaForCausalLM": _MAMBA,
    "FalconForCausalLM": Family("falcon", qkv_bias="bias", output_bias="bias", mlp_bias="bias", gated_mlp=False, norm="layernorm", tied=True),
    "Gemma2ForCausalLM": _GEMMA2,
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3TextModel": _GEMMA3._replace(architecture="gemma-embedding"),
    "Gemma3nForCausalLM": _GEMMA3N,
    "Gemma4ForCausalLM": _GEMMA4,
    "GemmaForCausalLM": _GEMMA,
    "Glm4ForCausalLM": _GLM4,
    "Glm4MoeForCausalLM": _GLM4_MOE,
    "Glm5NextForCausalLM": _DEEPSEEK._replace(architecture="glm5-next", router_bias=True, indexer=True, next_tokens=True, shared_embeddings=True),
    "Glm4MoeLiteForCausalLM": _DEEPSEEK_V3._replace(next_tokens=True),
    "GlmMoeDsaForCausalLM": _DEEPSEEK_V32._replace(architecture="glm-dsa", shared_embeddings=True),
    "GlmForCausalLM": Family("chatglm", qkv_bias="attention_bias", rotary=2),
    "GptOssForCausalLM": Family(
        "gpt-oss",
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        mlp_bias=True,
        mixture=Mixture.MIXTRAL,
        router_bias=True,
        sliding=Sliding.PATTERN,
        pattern=2,
    ),
    "GraniteForCausalLM": _GRANITE,
    "GraniteMoeHybridForCausalLM": _GRANITE._replace(architecture="granitehybrid", mlp_bias=False, tied=True),
    "GraniteMoeForCausalLM": _GRANITE._replace(architecture="granitemoe", mlp_bias=False, mixture=Mixture.MIXTRAL),
    "Grok1ModelForCausalLM": Family("grok", norms_per_layer=4, tied=True, mixture=Mixture.MIXTRAL, names={"num_local_experts": "num_experts"}),
    "GrokForCausalLM": Family("grok", norms_per_layer=4, tied=True, mixture=Mixture.MIXTRAL),
    "HYV3ForCausalLM": Family(
        "hy_v3",
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        mlp_bias="mlp_bias",
        qk_norm="head",
        mixture=Mixture.DEEPSEEK,
        router_bias=True,
        next_tokens=True,
        shared_embeddings=True,
        defaults={"head_dim": 128, "first_k_dense_replace": 1, "num_shared_experts": 1},
        names={"n_routed_experts": "num_experts", "n_shared_experts": "num_shared_experts"},
    ),
    "HunYuanDenseV1ForCausalLM": _HUNYUAN,
    "HunYuanMoEV1ForCausalLM": _HUNYUAN._replace(architecture="hunyuan-moe", mixture=Mixture.HUNYUAN),
    "InternLM2ForCausalLM": Family("internlm2", qkv_bias="bias", output_bias="bias"),
    "InternLM3ForCausalLM": Family("llama", qkv_bias="qkv_bias", output_bias="bias", mlp_bias="bias"),
    "Lfm2ForCausalLM": Family("lfm2", qk_norm="head", tied=True, defaults=_LFM2),
    "Lfm2MoeForCausalLM": Family("lfm2moe", qk_norm="head", tied=True, mixture=Mixture.DEEPSEEK, router_bias=True, defaults=_LFM2),
    "Llama4ForCausalLM": Family("llama4", qkv_bias="attention_bias", output_bias="attention_bias", mixture=Mixture.LLAMA4, sliding=Sliding.CHUNKED, pattern=4),
    "LagunaForCausalLM": Family(
        "laguna",
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        qk_norm="head",
        mixture=Mixture.DEEPSEEK,
        router_bias=True,
        sliding=Sliding.PATTERN,
    ),
    "JambaForCausalLM": Family("jamba"),
    "KimiK3LinearForCausalLM": _KIMI_LINEAR._replace(architecture="kimi-k3"),
    "KimiLinearForCausalLM": _KIMI_LINEAR,
    "LlamaForCausalLM": _LLAMA,
    "Mamba2ForCausalLM": _MAMBA._replace(architecture="mamba2", tied=False),
    "MambaForCausalLM": _MAMBA,
    "MellumForCausalLM": _QWEN3_MOE._replace(architecture="mellum", sliding=Sliding.PATTERN),
    "MiMoForCausalLM": _QWEN2._replace(qkv_bias="attention_bias", next_tokens=False),
    "MiMoV2FlashForCausalLM": Family(
        "mimo2",
        qkv_bias="attention_bias",
        mixture=Mixture.DEEPSEEK,
        router_bias=True,
        sliding=Sliding.PATTERN,
        next_tokens=True,
        shared_embeddings=True,
        defaults={"num_nextn_predict_layers": 3},
    ),
    "MiniCPM3ForCausalLM": Family("minicpm3", latent=True, tied=True),
    "MiniCPMForCausalLM": Family("minicpm", qkv_bias="attention_bias", output_bias="attention_bias", tied=True),
    "MiniMaxM1ForCausalLM": _MINIMAX_01,
    "MiniMaxM2ForCausalLM": Family("minimax-m2", qk_norm="full", mixture=Mixture.MIXTRAL, router_bias=True, rotary=2, defaults={"head_dim": 128}),
    "MiniMaxText01ForCausalLM": _MINIMAX_01,
    "MiniMaxM3SparseForCausalLM": Family("minimax-m3", qk_norm="head", mixture=Mixture.DEEPSEEK, router_bias=True, indexer=True, rotary=2),
    "Ministral3ForCausalLM": _MISTRAL._replace(architecture="mistral3"),
    "Mistral4ForCausalLM": _DEEPSEEK._replace(architecture="mistral4"),
    "MistralForCausalLM": _MISTRAL,
    "MixtralForCausalLM": _MISTRAL._replace(mixture=Mixture.MIXTRAL),
    "MllamaForCausalLM": _MLLAMA,
    "MuseGlimmerTextModel": Family(
        "muse-glimmer",
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        qk_norm="head",
        norms_per_layer=4,
        sliding=Sliding.PATTERN,
        pattern=4,
        defaults={"head_dim": 128},
    ),
    "NemotronHForCausalLM": _NEMOTRON_H,
    "NemotronForCausalLM": Family(
        "nemotron",
        qkv_bias="attention_bias",
        output_bias="attention_bias",
        mlp_bias="mlp_bias",
        gated_mlp=False,
        norm="layernorm",
        rotary=2,
    ),
    "NomicBertModel": Family("nomic-bert", norm="layernorm", tied=True),
    "Olmo2ForCausalLM": _OLMO2,
    "Olmo3ForCausalLM": _OLMO2._replace(sliding=Sliding.PATTERN, pattern=4),
    "OlmoForCausalLM": Family("olmo", qkv_bias="attention_bias", output_bias="attention_bias", norm="none"),
    "OlmoeForCausalLM": _OLMO2._replace(architecture="olmoe", mixture=Mixture.MIXTRAL, names={"num_local_experts": "num_experts"}),
    "Phi3ForCausalLM": Family("phi3", sliding=Sliding.EVERY),
    "PhiForCausalLM": Family("phi2", qkv_bias=True, output_bias=True, mlp_bias=True, gated_mlp=False, norm="layernorm", norms_per_layer=1, rotary=2),
    "PhiMoEForCausalLM": Family(
        "phimoe", qkv_bias="attention_bias", output_bias="attention_bias", norm="layernorm", mixture=Mixture.MIXTRAL, sliding=Sliding.EVERY
    ),
    "QWenLMHeadModel": Family("qwen", qkv_bias=True, defaults={"max_position_embeddings": 8192}),
    "Qwen2ForCausalLM": _QWEN2,
    "Qwen2MoeForCausalLM": _QWEN2._replace(architecture="qwen2moe", mixture=Mixture.QWEN, shared_gate=True),
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3MoeForCausalLM": _QWEN3_MOE,
    "Qwen3NextForCausalLM": _QWEN3_NEXT,
    "Qwen3_5ForCausalLM": _QWEN35_MOE._replace(architecture="qwen35", mixture=None, shared_gate=False),
    "Qwen3_5MoeForCausalLM": _QWEN35_MOE,
    "RWKV7ForCausalLM": _RWKV._replace(architecture="rwkv7"),
    "RobertaModel": _BERT,
    "Rwkv6ForCausalLM": _RWKV,
    "Rwkv7ForCausalLM": _RWKV._replace(architecture="rwkv7"),
    "SeedOssForCausalLM": Family("seed_oss", qkv_bias="attention_bias", output_bias="attention_out_bias", mlp_bias="mlp_bias", defaults={"head_dim": 128}),
    "SmolLM3ForCausalLM": _LLAMA._replace(architecture="smollm3", tied=True),
    "SolarOpenForCausalLM": _GLM4_MOE._replace(qkv_bias=False, rotary=4),
    "Spark2_5ForCausalLM": Family("spark2_5", tied=True, sliding=Sliding.PATTERN, pattern=4, defaults={"head_dim": 256}),
    "StableLmForCausalLM": Family("stablelm", qkv_bias="use_qkv_bias", norm="layernorm", rotary=1),
    "Starcoder2ForCausalLM": Family(
        "starcoder2", qkv_bias="use_bias", output_bias="use_bias", mlp_bias="use_bias", gated_mlp=False, norm="layernorm", tied=True, sliding=Sliding.EVERY
    ),
    "Step3p5ForCausalLM": Family("step35", qk_norm="head", mixture=Mixture.DEEPSEEK, router_bias=True, sliding=Sliding.PATTERN, next_tokens=True),
    "XLMRobertaModel": _BERT,
}
