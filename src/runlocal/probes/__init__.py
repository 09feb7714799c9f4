"""What is in this computer: GPUs, one module or package per vendor, and host memory.

Each vendor's library is imported in its own room only, and each vendor fails alone: what went wrong becomes a sentence.
"""
