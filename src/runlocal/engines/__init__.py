"""How an allocator lays bytes on devices."""
