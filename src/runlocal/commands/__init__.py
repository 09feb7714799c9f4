"""One verb per file: plain arguments in, a report out."""
