"""Structured logs: JSON lines in a rotating file, readable lines on the terminal, secrets in neither."""

from nautilus_ext.config.masking import Masker
from nautilus_ext.logs.actor import EventLog, EventLogConfig
from nautilus_ext.logs.session import LogSession
from nautilus_ext.logs.writer import Alert

__all__ = ["Alert", "EventLog", "EventLogConfig", "LogSession", "Masker"]
