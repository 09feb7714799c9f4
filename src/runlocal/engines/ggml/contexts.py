"""The context that llama.cpp sets up for a workload, and where it puts the layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runlocal.core.cache import CacheKind
from runlocal.core.facts import Facts
from runlocal.core.machine import Machine
from runlocal.core.model import ModelSpec
from runlocal.core.part import HOST
from runlocal.core.workload import Workload
from runlocal.engines.ggml.files import Files
from runlocal.engines.ggml.placement import Placement, place
from runlocal.engines.ggml.refusals import most_gpus, refuses_device, refuses_uneven_steps
from runlocal.engines.ggml.settings import Settings, settle

if TYPE_CHECKING:
    from runlocal.engines.ggml.room import GraphRoom


class Contexts(Files):
    """A model's contexts, kept by workload."""

    def __init__(self, model: ModelSpec, facts: Facts) -> None:
        super().__init__(model, facts)
        self._room: GraphRoom | None = None
        # Whether flash attention may follow from where layers lie: some have a state beside those with a cache, or read others' caches.
        self._flash_follows = len({cache.kind is CacheKind.RECURRENT for cache in self.caches}) > 1 or self.model.text.shared_kv_layers > 0
        self._settings: dict[Workload, Settings] = {}
        self._kept_flash: dict[tuple[Settings, Placement], bool] = {}

    def settings(self, workload: Workload) -> Settings:
        """The context as llama.cpp sets it up for this workload."""
        if workload not in self._settings:
            batch, ubatch = self.batches(workload)
            settled = settle(self.layout, workload, self.facts.types, self.facts.ggml, batch_tokens=batch, ubatch_tokens=ubatch, drafted=self.drafted(workload))
            if workload.mtp:
                rolls_back = self.layout.architecture in self.facts.ggml["rollback_architectures"]
                settled = settled._replace(snapshots=self.drafted(workload) if rolls_back else 0, hidden_kept=True)
            self._settings[workload] = settled
        return self._settings[workload]

    def settings_on(self, workload: Workload, placement: Placement) -> Settings:
        """Those settings where layers lie so: `auto` may turn flash attention off once the caches stand, where layers have a state or read others' caches.

        Heads that only the host has a kernel for turn it off where a layer lies on a GPU, and nowhere else.
        """
        settings = self.settings(workload)
        if settings.v_in_rows and set(placement.layers) == {HOST}:
            return settings._replace(flash_attention=True, v_in_rows=False, flash_on_host=True)
        asked = workload.flash_attention is not None or settings.type_v.block_elements > 1  # a quantized V asks for it
        if asked or not settings.flash_attention or not self._flash_follows or placement.nothing_on_host:
            return settings
        from runlocal.engines.ggml.graph import NotModelled
        from runlocal.engines.ggml.graph.resolve import keeps_flash_attention

        key = (settings, placement)
        if key not in self._kept_flash:
            try:
                self._kept_flash[key] = keeps_flash_attention(self.layout, settings, placement)
            except NotModelled:
                self._kept_flash[key] = True
        return settings if self._kept_flash[key] else settings._replace(flash_attention=False, v_in_rows=True)

    def batches(self, workload: Workload) -> tuple[int, int]:
        """(batch, ubatch) in tokens that the runtime asks llama.cpp for; `-b` is raised to `-ub`."""
        batch, ubatch = self.facts.runtime["batch_tokens"], self.facts.runtime["ubatch_tokens"]
        asked = workload.batch_tokens or (_pool_tokens(workload) if self.layout.encoder else ubatch)
        return max(batch, asked), asked

    def drafted(self, workload: Workload) -> int:
        """Tokens per sequence that are guessed ahead."""
        return self.facts.runtime.get("draft_tokens", 0) if workload.drafting or workload.mtp else 0

    def placement(self, workload: Workload, machine: Machine, shares: Sequence[float] | None = None) -> Placement:
        """Layers in proportion to what each GPU can use (llama.cpp's default `--tensor-split`); `shares` replace that."""
        free = tuple(float(device.usable_bytes) for device in machine.gpus) if shares is None else tuple(shares)
        if workload.tensor_split is not None and any(workload.tensor_split[: len(machine.gpus)]):
            free = (*workload.tensor_split, *(0.0 for _ in machine.gpus))[: len(machine.gpus)]
        free = free if len(free) > 1 and any(free) else (1.0,) * len(free)  # one GPU takes all, whatever its size; full ones share alike
        return place(
            self.layout.stored_layers,
            workload.gpu_layers,
            free,
            host_experts=(self.layout.stored_layers if workload.cpu_moe else workload.n_cpu_moe) if self.layout.experts else 0,
            cache_on_host=not workload.kv_offload,
        )

    def refuses_devices(self, machine: Machine) -> str | None:
        """Why ggml cannot use the machine's devices."""
        return refuses_device(machine, self.most_gpus())

    def most_gpus(self) -> int:
        """GPUs that one process computes on at most."""
        return most_gpus(self.facts.ggml)

    def refuses_graph(self, workload: Workload, machine: Machine) -> str | None:
        """Why llama.cpp aborts over the graph's tensors; None where it does not."""
        if self._room is None:
            from runlocal.engines.ggml.room import GraphRoom

            self._room = GraphRoom(self.layout, self.tensors, self.facts.ggml["graph_room"])
        settings = self.settings(workload)
        if self.layout.architecture in self.facts.ggml["even_steps_architectures"] and (reason := refuses_uneven_steps(settings)):
            return reason
        if not self._flash_follows and not settings.v_in_rows and self._room.ample(settings):
            return None
        placement = self.placement(workload, machine)
        return self._room.refuses(self.settings_on(workload, placement), placement, mtp=workload.mtp)

    def step(self, workload: Workload, placement: Placement) -> tuple[int, bool]:
        """(tokens per step, whether flash attention is on)."""
        settings = self.settings_on(workload, placement)
        return settings.ubatch_tokens, settings.flash_attention


def _pool_tokens(workload: Workload) -> int:
    return workload.pool_tokens or workload.context_tokens * workload.sequences
