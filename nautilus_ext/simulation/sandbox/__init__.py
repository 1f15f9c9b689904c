"""Nautilus's sandbox with a memory: what paper trading on real data executes on."""
