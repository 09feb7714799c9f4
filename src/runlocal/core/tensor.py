"""Tensors and the types they are stored in."""

from runlocal.core.noun import NamedTuple


class StorageType(NamedTuple):
    """A ggml storage type: `block_elements` values of a row are stored in `block_bytes` bytes.

    name: as ggml prints it, `Q4_K`
    block_elements: values per block; a row must be a whole number of blocks
    block_bytes: bytes per block, scales included
    """

    name: str
    block_elements: int
    block_bytes: int

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of `columns` values (a whole number of blocks)."""
        return columns // self.block_elements * self.block_bytes


class Tensor(NamedTuple):
    """A group of equal tensors: one of this shape in each layer of `layers` (outside the layers: `layers == ()`, one tensor).

    role: GGUF's name without `blk.N.`, `.weight`: `attn_v`, `ffn_down_exps`, `token_embd`; biases end in `.bias`
    columns: ne0, the length of a row, in values; the dimension that quantization blocks run along
    rows: ne1, 1 for vectors
    copies: ne2, the matrices stacked in one tensor (experts, heads of absorbed MLA), else 1
    layers: the indices of the layers it stands in
    quantizable: False where the converter stores F32 and the quantizer leaves it so
    skipped: True where the file stores it and the loader leaves it out (multi-token-prediction layers)
    source_type: what the converter writes where that is neither the checkpoint's 16-bit type nor F32 for vectors
    repeated: True where it is a copy of another tensor, which does not count as parameters
    read_by: of a table outside of the layers, those that read it; empty: all do
    """

    role: str
    columns: int
    rows: int = 1
    copies: int = 1
    layers: tuple[int, ...] = ()
    quantizable: bool = True
    skipped: bool = False
    source_type: str | None = None
    repeated: bool = False
    read_by: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """Values of one tensor of the group."""
        return self.columns * self.rows * self.copies

    @property
    def count(self) -> int:  # type: ignore[override]  # counting equal fields of a tensor means nothing
        """Tensors in the group."""
        return len(self.layers) or 1
