"""ggml's allocator as llama.cpp drives it (llama.cpp, Ollama since 0.30, LM Studio): weights, caches, compute buffers, image graph.

Where a change belongs:

- A model opened for many questions: `files`, `contexts`, `compute`, `session`, each a class on top of the one before. They keep what was
  answered; the rules are in the files below.
- Weights: `weights` (bytes on a device), `placement` (which layer goes where), `mixture` (published files of unknown types), `weight_parts`.
- Options and caches: `settings` (what llama.cpp makes of a workload), `cache`.
- Compute buffers: `graph` (what is computed), `allocator` and `places` (where its tensors lie), `buffers` (for many contexts), `buffer_parts`.
- Beside the model: `vision`, `image_size`, `speech`; `nextn` and `draft` guess tokens ahead; `overhead` is what drivers take.
- A reason to say no: `refusals` by the machine and the options, `room` where llama.cpp aborts over the number of a graph's tensors, and
  what draft models or next-token layers refuse beside them.
- Machines other than CUDA cards beside a host: `elsewhere`. What a token reads, which bounds speed: `reads`.
"""
