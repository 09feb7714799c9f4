"""What every part of a graph needs: settings, the graph so far, weights and inputs."""

from collections.abc import Mapping

from runlocal.architectures.blocks.attention import Attention, Indexer, LatentAttention
from runlocal.architectures.blocks.mlp import DenseMlp
from runlocal.core.cache import CacheKind
from runlocal.core.layout import Block, Layout
from runlocal.core.noun import NamedTuple
from runlocal.core.part import HOST
from runlocal.core.tensor import StorageType
from runlocal.core.units import pad
from runlocal.engines.ggml.allocator import NONE, Four, Node
from runlocal.engines.ggml.graph.expand import Graph
from runlocal.engines.ggml.graph.family import Family
from runlocal.engines.ggml.graph.inputs import SMALLEST_ROTATION, CacheInputs, CompressedInputs, IndexerInputs, rotation
from runlocal.engines.ggml.graph.tensors import F16, F32, I32, I64, four, given, like, new, view
from runlocal.engines.ggml.placement import Placement
from runlocal.engines.ggml.settings import Settings

DOWN = "ffn_down_exps"
_FEW_TOKENS = 32


class Devices(NamedTuple):
    """Indices of devices: GPUs from 0, then the host.

    layers: of each layer
    output: of the output matrix and its norm
    host_experts: expert matrices of the first so many layers stay on the host
    cache_on_host: caches do
    host: the host's index
    keeps_pins: what the graph's builder says about devices holds; else the scheduler forgets it
    """

    layers: tuple[int, ...]
    output: int
    host_experts: int
    cache_on_host: bool
    host: int
    keeps_pins: bool


def devices_of(placement: Placement, *, keeps_pins: bool) -> Devices:
    """The devices that a model lies on."""
    names = [*placement.devices(), HOST]
    return Devices(
        layers=tuple(names.index(device) for device in placement.layers),
        output=names.index(placement.output),
        host_experts=placement.host_experts,
        cache_on_host=placement.cache_on_host,
        host=len(names) - 1,
        keeps_pins=keeps_pins,
    )


class Context:
    """A graph being built.

    weight_bytes: bytes of a copy of a weight, by role and layer; only weights that are computed with elsewhere are asked for
    tokens: tokens of the graph, a multiple of the sequences
    pins: norms, and what DeepSeek V4's layers yield, are told where to run
    chosen_tokens: what the last indexer chose
    compressed_inputs: what attention to compressed tokens reads, where there is such
    picks: the last layer is being built, in which the rows for the logits are picked
    fused: operations that stand for several, and their layers
    shared: inputs of one architecture's own that its layers share, by name
    """

    def __init__(self, layout: Layout, family: Family, settings: Settings, devices: Devices, weight_bytes: Mapping[tuple[str, int | None], int]) -> None:
        self.layout = layout
        self.family = family
        self.settings = settings
        self.devices = devices
        self.graph = Graph()
        self.tokens = pad(settings.ubatch_tokens, settings.sequences)
        # llama_context::graph_get_cb keeps a norm on its layer's device where everything is offloaded, or the tokens are few.
        self.pins = devices.keeps_pins and (self.tokens < _FEW_TOKENS or devices.host not in (*devices.layers, devices.output))
        self.positions = given(I32, self.tokens * family.positions)
        self.token_ids = given(I32, self.tokens)
        self.output_rows = given(I32, settings.output_rows)
        self.state_rows = _rows_of_states(settings.sequences, settings.resting)
        self.temperature = given(F32, 1, 1, self.tokens)
        # A second cache for layers with a window (llama_kv_cache_iswa).
        self.has_windows = any(self.sees_window(block) for block, _ in layout.placed)
        self.dense_layers = {layer for block, layers in layout.placed if isinstance(block, DenseMlp) for layer in layers}
        self.shared: dict[str, Node] = {}
        self.picks = False
        self.fused: list[tuple[Node, int]] = []
        self.has_states = any(cache.kind is CacheKind.RECURRENT for cache in layout.caches())
        self._inputs: dict[bool, CacheInputs] = {}
        self._indexer_inputs: IndexerInputs | None = None
        self.chosen_tokens: Node | None = None
        self.compressed_inputs: CompressedInputs | None = None
        self.weight_bytes = weight_bytes
        # What is used twice is copied to another device once.
        self._weights: dict[tuple[str, int | None], Node] = {}
        self.first_value: Node | None = None  # what RWKV's first layer hands to all others
        self._rope_table_bytes = max((t.columns * F32.block_bytes for t in layout.outer if t.role.startswith("rope_")), default=0)
        self._rope_tables: dict[int, Node] = {}
        # The embeddings that layers have of their own, all layers in one tensor (build_inp_per_layer).
        self.layer_inputs: Node | None = None
        self._value_width = max((cache.v_values for cache in layout.caches() if cache.kind is not CacheKind.RECURRENT), default=0)

    @property
    def layer_input_size(self) -> int:
        """Width of the embedding that each layer has of its own, 0 where there is none."""
        return next((tensor.columns for tensor in self.layout.outer if tensor.role == "per_layer_proj_norm"), 0)

    def weight(self, role: str, layer: int | None, *shape: int, beside: int | None = None) -> Node:
        """A weight of the model: where it lies, and if that is the host, what a copy takes on a GPU.

        beside: the layer on whose device a weight lies that stands outside of the layers; None: the output's device
        """
        if known := self._weights.get((role, layer)):
            return known
        devices = self.devices
        on_host = layer is not None and layer < devices.host_experts and "_exps" in role
        where = beside if layer is None else layer
        device = devices.output if where is None else devices.host if on_host else devices.layers[where]
        if role == "output" and self.family.output_on_host:
            device = devices.host
        is_copied = devices.host > 0 and (device == devices.host or (role == DOWN and self.family.down_on_host))
        self._weights[role, layer] = _weight_on(device, four(*shape), self.weight_bytes[role, layer] if is_copied else 0)
        return self._weights[role, layer]

    def fused_node(self, node: Node, layer: int) -> Node:
        """Notes an operation that llama.cpp takes apart where it does not run with its layer."""
        self.fused.append((node, layer))
        return node

    def table(self, role: str, layer: int, *shape: int) -> Node:
        """A weight of whole numbers."""
        node = self.weight(role, layer, *shape)
        node.type = I32
        return node

    def cache(self, type: StorageType, layer: int, *shape: int) -> Node:
        """Keys, values or states of a layer's cache."""
        a, b, c = shape
        node = new(NONE, type, (a, b, c, 1))
        node.device = self.devices.host if self.devices.cache_on_host else self.devices.layers[layer]
        node.stored = True
        return node

    def norm(self, a: Node, role: str, layer: int | None, *, bias: bool = False, pinned: bool = True, beside: int | None = None) -> Node:
        """llm_graph_context::build_norm. pinned: it is told its layer; beside: as in `weight`."""
        node = like("NORM" if self.family.layer_norm else "RMS_NORM", a)
        if self.family.weightless_norms:
            return node
        if layer is not None and pinned:
            node.device = self.devices.layers[layer] if self.pins else None
        node = like("MUL", node, self.weight(role, layer, a.shape[0], beside=beside))
        return like("ADD", node, self.weight(f"{role}.bias", layer, a.shape[0], beside=beside)) if bias else node

    def rope_factors(self, layer: int) -> tuple[Node, ...]:
        """The table of rotary factors, where the file has one: loaded once per device; of a long and a short one, one is used."""
        if not self._rope_table_bytes:
            return ()
        device = self.devices.layers[layer]
        if device not in self._rope_tables:
            self._rope_tables[device] = _weight_on(device, (1, 1, 1, 1), self._rope_table_bytes)
        return (self._rope_tables[device],)

    def sees_window(self, block: Block) -> bool:
        """Whether a layer's attention is limited to a window, as this architecture's loader has it."""
        return self.settings.windows and isinstance(block, Attention) and block.window_tokens is not None

    def cache_inputs(self, block: Attention | LatentAttention) -> CacheInputs:
        """Inputs for the cache of such layers (build_attn_inp_kv, build_attn_inp_kv_iswa, build_attn_inp_k): one set with, one without window."""
        windowed = self.sees_window(block)
        if windowed not in self._inputs:
            self._inputs[windowed] = self._new_inputs(block)
        return self._inputs[windowed]

    def indexer_inputs(self, block: Indexer) -> IndexerInputs:
        """Inputs of all indexers. Their mask is in F16 with and without flash attention, as the fused kernel wants it."""
        if self._indexer_inputs is None:
            streams = self.settings.streams
            mask = given(F16, self.settings.cells, self.tokens // streams, 1, streams)
            self._indexer_inputs = IndexerInputs(mask=mask, rows=given(I64, self.tokens), rotation=rotation(block.head_dim))
        return self._indexer_inputs

    def _new_inputs(self, block: Attention | LatentAttention) -> CacheInputs:
        settings, tokens, streams = self.settings, self.tokens, self.settings.streams
        cache = next(iter(block.caches((0,))), None)  # an indexer has one beside it
        if cache is None:
            # The tokens of the step see each other (build_attn_inp_no_cache), whatever the sequences.
            streams = 1
        cells = settings.cells_of(cache) if cache else tokens
        k_rotation = v_rotation = None
        if cache and isinstance(block, Attention):
            if settings.type_k.block_elements > 1 and block.head_dim % SMALLEST_ROTATION == 0:
                k_rotation = rotation(block.head_dim)
            if settings.type_v.block_elements > 1 and block.value_dim % SMALLEST_ROTATION == 0:
                v_rotation = rotation(SMALLEST_ROTATION)
        return CacheInputs(
            cells=cells,
            mask=given(F16 if settings.flash_attention else F32, cells, tokens // streams, 1, streams),
            k_rows=given(I64, tokens),
            v_rows=given(I64, tokens * self._value_width if settings.v_transposed else tokens),
            k_rotation=k_rotation,
            v_rotation=v_rotation,
        )


def _rows_of_states(sequences: int, resting: int) -> tuple[Node, Node]:
    """Which states a step reads, and which only move (build_rs_inp): when memory is reserved, all and none unless some rest."""
    rows = given(I32, sequences + resting)
    return view(rows, (sequences,)), view(rows, (resting,), (), sequences * I32.block_bytes)


def _weight_on(device: int, shape: Four, size_bytes: int) -> Node:
    node = new(NONE, F32, shape)
    node.device, node.size_bytes = device, size_bytes
    node.stored = node.weight = True
    return node
