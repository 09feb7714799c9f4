"""runlocal: will this model run on this hardware, at which quantization and how long a context?"""

__version__ = "0.1.0"
