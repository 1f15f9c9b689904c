"""Execution suite for NautilusTrader. Kept free of imports: the entry points check the Python version first."""

__version__ = "0.1.0"
