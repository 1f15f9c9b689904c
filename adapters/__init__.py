"""Venue adapters of exec-suite-nt: one folder per venue."""

# An unrelated package on the public index is called `adapters` too: preflight looks for this line.
DISTRIBUTION = "exec-suite-nt"
