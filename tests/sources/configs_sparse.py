"""More fields of config.json: the models whose attention chooses what it looks at by rules of their own."""

from typing import Any

MINIMAX_M3_TEXT: dict[str, Any] = {
    "architectures": ["MiniMaxM3SparseForCausalLM"],
    "attention_output_gate": False,
    "dense_intermediate_size": 12288,
    "head_dim": 128,
    "hidden_size": 6144,
    "intermediate_size": 3072,
    "max_position_embeddings": 1048576,
    "model_type": "minimax_m3",
    "moe_layer_freq": [0] * 3 + [1] * 57,
    "n_shared_experts": 1,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 60,
    "num_key_value_heads": 4,
    "num_local_experts": 128,
    "partial_rotary_factor": 0.5,
    "qk_norm_type": "per_head",
    "routed_scaling_factor": 2.0,
    "shared_intermediate_size": 3072,
    "sparse_attention_config": {
        "sparse_attention_freq": [0] * 3 + [1] * 57,
        "sparse_block_size": 128,
        "sparse_index_dim": 128,
        "sparse_init_block": 0,
        "sparse_local_block": 1,
        "sparse_num_index_heads": 4,
        "sparse_topk_blocks": 16,
        "use_sparse_attention": True,
    },
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 200064,
}

BUNDLED: dict[str, dict[str, Any]] = {
    "minimax-m3-427b-a23b": {
        "architectures": ["MiniMaxM3SparseForConditionalGeneration"],
        "model_type": "minimax_m3_vl",
        "projector_hidden_size": 6144,
        "text_config": MINIMAX_M3_TEXT,
        "torch_dtype": "bfloat16",
        "vision_config": {
            "hidden_size": 1280,
            "image_size": 2016,
            "img_token_compression_config": {"image_token_compression_method": "patch_merge", "spatial_merge_size": 2, "temporal_patch_size": 2},
            "intermediate_size": 5120,
            "model_type": "clip_vision_model",
            "num_attention_heads": 16,
            "num_hidden_layers": 32,
            "patch_size": 14,
            "projection_dim": 6144,
        },
    },
}
