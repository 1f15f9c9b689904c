"""Risk limits that apply: a gate in front of the execution engine, over pure rules and a ledger."""
