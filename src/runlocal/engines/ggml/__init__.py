"""ggml's allocator as llama.cpp drives it (llama.cpp, Ollama since 0.30, LM Studio): weights, caches, compute buffers, image graph."""
