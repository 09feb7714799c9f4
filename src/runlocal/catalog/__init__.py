"""Bundled data as core types, and names as people type them."""
