"""Reports as text. Every function returns a `str` without a last newline; only the command line prints.

Nothing here looks at the terminal, the environment or the clock: what decides the look comes in as a `Style`.
"""
