"""The small parts of the rules, each alone."""
