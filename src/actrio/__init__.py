"""actrio: supervised agents on Trio."""

__version__ = "0.1.0"
