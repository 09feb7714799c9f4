"""What GGUF files were converted from."""

from runlocal.sources.families import FAMILIES

# Where several classes become one architecture, the one that its files usually come from.
_USUAL = {
    "bert": "BertModel",
    "deepseek2": "DeepseekV3ForCausalLM",
    "gemma-embedding": "Gemma3TextModel",
    "gemma3n": "Gemma3nForConditionalGeneration",
    "gemma4": "Gemma4ForConditionalGeneration",
    "glm4moe": "Glm4MoeForCausalLM",
    "glm5-next": "Glm5NextForConditionalGeneration",
    "kimi-k3": "KimiK3ForConditionalGeneration",
    "llama": "LlamaForCausalLM",
    "llama4": "Llama4ForConditionalGeneration",
    "mamba": "MambaForCausalLM",
    "minimax-m3": "MiniMaxM3SparseForConditionalGeneration",
    "mistral3": "Mistral3ForConditionalGeneration",
    "mistral4": "Mistral3ForConditionalGeneration",
    "muse-glimmer": "MuseGlimmerForConditionalGeneration",
    "nemotron_h_moe": "NemotronHForCausalLM",
    "nomic-bert": "NomicBertModel",
    "olmo2": "Olmo2ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen35": "Qwen3_5ForConditionalGeneration",
    "qwen35moe": "Qwen3_5MoeForConditionalGeneration",
    "qwen3vl": "Qwen3VLForConditionalGeneration",
    "qwen4exp": "Qwen4ExpForConditionalGeneration",
    "qwen3vlmoe": "Qwen3VLMoeForConditionalGeneration",
}
# Architectures of bundled models whose GGUF files are not read: a stranger's is refused, their bundled models are asked for by name.
BY_NAME_ONLY = frozenset(("minimax-01", "mllama", "rwkv6", "rwkv7"))


def hugging_face_name(architecture: str) -> str | None:
    """The class that a file of that architecture was converted from, None where it is not known."""
    return _USUAL.get(architecture) or next((name for name, family in FAMILIES.items() if family.architecture == architecture), None)
