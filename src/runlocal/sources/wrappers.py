"""Classes of Hugging Face's transformers that set a vision tower before a language model, and the names that nested configs give that model."""

from collections.abc import Mapping

from runlocal.core.noun import NamedTuple


class Wrapper(NamedTuple):
    """A class that sets a vision tower before a language model.

    tower: key of the registry of towers, None where vision_config's model_type decides
    text: class of the language model, None where its own config says
    architecture: llama.cpp's name where it is not the language model's own
    keeps: architectures of language models that keep their name all the same
    """

    tower: str | None
    text: str | None = None
    architecture: str | None = None
    keeps: tuple[str, ...] = ()


WRAPPERS: Mapping[str, Wrapper] = {
    "DeepseekOCRForCausalLM": Wrapper("deepseekocr", "DeepseekOCRForCausalLM"),
    "Gemma3ForConditionalGeneration": Wrapper("siglip", "Gemma3ForCausalLM"),
    "Gemma3nForConditionalGeneration": Wrapper(None, "Gemma3nForCausalLM"),
    "Gemma4ForConditionalGeneration": Wrapper("gemma4", "Gemma4ForCausalLM"),
    "Gemma4UnifiedForConditionalGeneration": Wrapper("gemma4_unified", "Gemma4ForCausalLM"),
    "Glm5NextForConditionalGeneration": Wrapper("glm5v", "Glm5NextForCausalLM"),
    "Glm4vForConditionalGeneration": Wrapper("glm4v", "Glm4ForCausalLM"),
    "Glm4vMoeForConditionalGeneration": Wrapper("glm4v", "Glm4MoeForCausalLM"),
    "Idefics3ForConditionalGeneration": Wrapper("idefics3"),
    "InternS1ForConditionalGeneration": Wrapper("internvl"),
    "InternVLChatModel": Wrapper("internvl"),
    "InternVLForConditionalGeneration": Wrapper("internvl"),
    "KimiK25ForConditionalGeneration": Wrapper("kimik25", "DeepseekV3ForCausalLM"),
    "KimiK3ForConditionalGeneration": Wrapper(None, "KimiK3LinearForCausalLM"),
    "KimiVLForConditionalGeneration": Wrapper("kimivl", "DeepseekV3ForCausalLM"),
    "Lfm2VlForConditionalGeneration": Wrapper("lfm2", "Lfm2ForCausalLM"),
    "Llama4ForConditionalGeneration": Wrapper("llama4", "Llama4ForCausalLM"),
    "LlavaForConditionalGeneration": Wrapper(None),
    "LlavaNextForConditionalGeneration": Wrapper(None),
    "Mistral3ForConditionalGeneration": Wrapper("pixtral", architecture="mistral3", keeps=("mistral4",)),
    "MiniMaxM3SparseForConditionalGeneration": Wrapper("minimax-m3", "MiniMaxM3SparseForCausalLM"),
    "MllamaForConditionalGeneration": Wrapper("mllama", "MllamaForCausalLM"),
    "MuseGlimmerForConditionalGeneration": Wrapper("muse", "MuseGlimmerTextModel"),
    "Qwen2VLForConditionalGeneration": Wrapper("qwen2vl", "Qwen2ForCausalLM", "qwen2vl"),
    "Qwen2_5_VLForConditionalGeneration": Wrapper("qwen2_5vl", "Qwen2ForCausalLM", "qwen2vl"),
    "Qwen3VLForConditionalGeneration": Wrapper("qwen3vl", "Qwen3ForCausalLM", "qwen3vl"),
    "Qwen3_5ForConditionalGeneration": Wrapper("qwen3vl", "Qwen3_5ForCausalLM"),
    "Qwen3_5MoeForConditionalGeneration": Wrapper("qwen3vl", "Qwen3_5MoeForCausalLM"),
    "Qwen3VLMoeForConditionalGeneration": Wrapper("qwen3vl", "Qwen3MoeForCausalLM", "qwen3vlmoe"),
    "SmolVLMForConditionalGeneration": Wrapper("idefics3"),
    "Step3p7ForConditionalGeneration": Wrapper("step3vl", "Step3p5ForCausalLM"),
}

# The class that a nested text_config means by its model_type, where it names no class itself.
MODEL_TYPES: Mapping[str, str] = {
    "afmoe": "AfmoeForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gemma3n_text": "Gemma3nForCausalLM",
    "gemma4_text": "Gemma4ForCausalLM",
    "gemma4_unified_text": "Gemma4ForCausalLM",
    "glm4v_moe_text": "Glm4MoeForCausalLM",
    "glm4v_text": "Glm4ForCausalLM",
    "kimi_k2": "DeepseekV3ForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "lfm2_moe": "Lfm2MoeForCausalLM",
    "llama": "LlamaForCausalLM",
    "llama4_text": "Llama4ForCausalLM",
    "minimax_m3": "MiniMaxM3SparseForCausalLM",
    "ministral3": "Ministral3ForCausalLM",
    "mistral": "MistralForCausalLM",
    "mistral4": "Mistral4ForCausalLM",
    "mllama_text_model": "MllamaForCausalLM",
    "muse_glimmer_text": "MuseGlimmerTextModel",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_5_vl_text": "Qwen2ForCausalLM",
    "qwen2_vl_text": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
    "qwen3_5_text": "Qwen3_5ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_vl_moe_text": "Qwen3MoeForCausalLM",
    "qwen3_vl_text": "Qwen3ForCausalLM",
}
