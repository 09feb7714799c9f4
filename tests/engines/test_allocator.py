"""The allocator by hand: free blocks, lifetimes, operands taken over, and stretches that repeat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runlocal.core.tensor import StorageType
from runlocal.engines.ggml.allocator import NONE, Node, Repeat, reserve
from runlocal.engines.ggml.places import Blocks

BYTE = StorageType(name="I8", block_elements=1, block_bytes=1)
GPU = [128]


def node(op: str, size: int, *sources: Node) -> Node:
    """A vector of `size` bytes on the only device."""
    made = Node(op, BYTE, (size, 1, 1, 1), (1, size, size, size), list(sources), size)
    made.device = 0
    return made


def view(of: Node, size: int) -> Node:
    made = Node("VIEW", BYTE, (size, 1, 1, 1), (1, size, size, size), [of], 0, of)
    made.device = 0
    return made


def weight(size: int) -> Node:
    made = node(NONE, size)
    made.stored = made.weight = True
    return made


class TestBlocks:
    def test_sizes_are_rounded_up_to_the_alignment(self) -> None:
        blocks = Blocks(128)
        assert [blocks.take(size) for size in (1, 128, 129, 64)] == [0, 128, 256, 512]
        assert blocks.peak_bytes == 640

    def test_the_smallest_hole_that_holds_it_is_taken(self) -> None:
        blocks = Blocks(1)
        regions = [(blocks.take(size), size) for size in (30, 1, 10, 1, 20, 1)]
        for index in (0, 2, 4):  # holes of 30 at 0, of 10 at 31, of 20 at 42
            blocks.give_back(*regions[index])
        assert blocks.take(15) == 42
        assert blocks.take(10) == 31
        assert blocks.take(31) == 63  # fits in no hole
        assert blocks.take(5) == 57  # what is left of the 20
        assert blocks.peak_bytes == 94

    def test_the_last_of_equal_holes_is_taken(self) -> None:
        blocks = Blocks(1)
        regions = [(blocks.take(size), size) for size in (10, 1, 10, 1)]
        blocks.give_back(*regions[0])
        blocks.give_back(*regions[2])
        assert blocks.take(10) == 11

    @pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
    def test_neighbouring_holes_become_one(self, order: tuple[int, ...]) -> None:
        blocks = Blocks(1)
        regions = [(blocks.take(size), size) for size in (10, 20, 30, 1)]
        for index in order:
            blocks.give_back(*regions[index])
        assert blocks.take(60) == 0
        assert blocks.peak_bytes == 61

    def test_a_hole_of_no_size_may_stand_behind_one_that_shrank_past_it(self) -> None:
        """As ggml does it: the first 30 join the hole of no size, which is out of order, so what comes then finds no neighbour there."""
        blocks = Blocks(1)
        regions = [(blocks.take(size), size) for size in (30, 0, 40, 1)]
        for index in (0, 2, 1):
            blocks.give_back(*regions[index])
        assert blocks.take(50) == 0
        blocks.give_back(0, 30)
        blocks.give_back(30, 20)
        assert blocks.take(70) == 71

    def test_the_end_moves_back_but_the_peak_stays(self) -> None:
        blocks = Blocks(1)
        blocks.give_back(blocks.take(100), 100)
        assert blocks.take(40) == 0
        assert blocks.peak_bytes == 100

    @given(st.lists(st.tuples(st.booleans(), st.integers(1, 500)), max_size=60))
    def test_regions_never_overlap(self, steps: list[tuple[bool, int]]) -> None:
        blocks = Blocks(16)
        live: list[tuple[int, int]] = []
        for gives_back, size in steps:
            if gives_back and live:
                blocks.give_back(*live.pop(size % len(live)))
            else:
                offset = blocks.take(size)
                assert all(offset + -(-size // 16) * 16 <= other or other + -(-length // 16) * 16 <= offset for other, length in live)
                live.append((offset, size))


class TestReserve:
    def test_an_operand_is_given_back_after_its_last_reader(self) -> None:
        # a at 0, b at 128, a free, c at 0.
        a = node("MUL_MAT", 128, weight(1))
        b = node("MUL_MAT", 128, a)
        c = node("MUL_MAT", 128, b)
        assert reserve([a, b, c], [], GPU) == (256,)

    def test_a_sum_lies_where_its_first_operand_lay(self) -> None:
        a, b = node("MUL_MAT", 128, weight(1)), node("MUL_MAT", 128, weight(1))
        assert reserve([a, b, node("ADD", 128, a, b)], [], GPU) == (256,)

    def test_a_matrix_product_needs_room_of_its_own(self) -> None:
        a, b = node("MUL_MAT", 128, weight(1)), node("MUL_MAT", 128, weight(1))
        assert reserve([a, b, node("MUL_MAT", 128, a, b)], [], GPU) == (384,)

    def test_an_operand_that_is_read_again_is_not_taken_over(self) -> None:
        a = node("MUL_MAT", 128, weight(1))
        b = node("SCALE", 128, a)
        assert reserve([a, b, node("ADD", 128, b, a)], [], GPU) == (256,)

    def test_a_view_is_not_taken_over(self) -> None:
        a = node("MUL_MAT", 128, weight(1))
        v = view(a, 128)
        assert reserve([a, v, node("SCALE", 128, v)], [], GPU) == (256,)

    def test_a_tensor_lives_as_long_as_its_views(self) -> None:
        # While v is read, neither a nor b's room can be used for c.
        a = node("MUL_MAT", 128, weight(1))
        v = view(a, 128)
        b = node("MUL_MAT", 128, a)
        c = node("MUL_MAT", 128, b)
        assert reserve([a, v, b, c, node("ADD", 128, c, v)], [], GPU) == (384,)

    def test_other_shapes_are_not_taken_over(self) -> None:
        a = node("MUL_MAT", 256, weight(1))
        assert reserve([a, node("SCALE", 128, a)], [], GPU) == (384,)

    def test_results_of_the_graph_outlive_it(self) -> None:
        a = node("MUL_MAT", 128, weight(1))
        a.is_output = True
        b = node("SCALE", 128, a)
        c = node("MUL_MAT", 128, b)
        assert reserve([a, b, c], [], GPU) == (384,)

    def test_leaves_come_first_and_weights_take_nothing(self) -> None:
        leaf = node(NONE, 1000)
        a = node("MUL_MAT", 128, weight(1 << 30), leaf)
        assert reserve([a], [leaf], GPU) == (1024 + 128,)

    def test_a_node_that_nothing_computes_keeps_its_operands(self) -> None:
        a = node("MUL_MAT", 128, weight(1))
        b = node("SCALE", 128, a)
        keeps = Node(NONE, BYTE, a.shape, a.strides, [a], 0, a)
        assert reserve([a, b], [], GPU) == (128,)
        a, b = node("MUL_MAT", 128, weight(1)), node("MUL_MAT", 128, weight(1))
        b = node("SCALE", 128, a)
        keeps.sources, keeps.root = [a], a
        assert reserve([a, b, keeps], [], GPU) == (256,)

    def test_every_device_has_its_own_buffer(self) -> None:
        a, b = node("MUL_MAT", 100, weight(1)), node("MUL_MAT", 100, weight(1))
        b.device = 1
        assert reserve([a, b], [], [128, 32]) == (128, 128)
        c = node("MUL_MAT", 100, weight(1))
        c.device = 1
        assert reserve([c], [], [128, 32]) == (0, 128)

    def test_a_node_without_device_is_a_mistake(self) -> None:
        a = node("MUL_MAT", 128, weight(1))
        a.device = None
        with pytest.raises(ValueError, match="MUL_MAT has no device"):
            reserve([a], [], GPU)


def stretch(x: Node, sizes: list[int]) -> list[Node]:
    """Layers as they stand: a branch of several steps, added to what came in."""
    branch, made = x, []
    for size in sizes:
        branch = node("MUL_MAT", size, weight(1), branch)
        made.append(branch)
    last = node("MUL_MAT", x.size_bytes, weight(1), branch)
    return [*made, last, node("ADD", x.size_bytes, last, x)]


def chain(sizes: list[int], tail: list[int], times: int) -> tuple[list[Node], list[int]]:
    """A start, `times` equal stretches and one of another kind; and where each begins."""
    nodes = [node("MUL_MAT", 300, weight(1))]
    starts = []
    for _ in range(times):
        starts.append(len(nodes))
        nodes += stretch(nodes[-1], sizes)
    starts.append(len(nodes))
    return [*nodes, *stretch(nodes[-1], tail)], starts


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=6), st.lists(st.integers(1, 4000), min_size=1, max_size=4), st.integers(0, 30))
def test_a_stretch_that_repeats_is_as_good_as_all_of_them(sizes: list[int], tail: list[int], times: int) -> None:
    every, _ = chain(sizes, tail, times + 3)
    few, starts = chain(sizes, tail, 3)
    assert reserve(few, [], GPU, [Repeat(start=starts[1], end=starts[2], times=times)]) == reserve(every, [], GPU)
