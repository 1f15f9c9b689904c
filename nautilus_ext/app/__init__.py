"""The only place that wires: everything else is given what it needs."""
