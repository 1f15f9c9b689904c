"""The process of the simulated exchange: sessions, requests, faults, the ledger. It loads no engine."""
