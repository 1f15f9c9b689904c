"""Nautilus's data and execution clients of the simulated exchange: the reference for who writes an adapter."""
