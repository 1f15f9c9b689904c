"""A TrendFollower whose feed repeats itself: after a restart it is shown the bar of its last signal once more."""

import json
import os
from pathlib import Path
from typing import Any

from nautilus_trader.model.data import Bar

from nautilus_ext.strategies import TrendFollower

MEMORY = "ECHO_MEMORY"  # names the file in which that bar is kept


class EchoFollower(TrendFollower):
    def on_start(self) -> None:
        super().on_start()
        self.memory = Path(os.environ[MEMORY])
        self.echo = json.loads(self.memory.read_text()) if self.memory.exists() else None

    def on_bar(self, bar: Bar) -> None:
        super().on_bar(bar)
        signal = self.pyramid.entry
        if signal is not None and signal.signal_ns == bar.ts_event:
            self.asked = {"kind": signal.signal_type, "bar": Bar.to_dict(bar)}
        elif signal is None and self.echo is not None and self.pyramid.rows.open:
            again, self.echo = self.echo, None
            self.pyramid.claim(again["kind"], "LONG", Bar.from_dict(again["bar"]))

    def enter(self, *arguments: Any) -> bool:
        """The claim was granted: this is the signal that the next run is shown again."""
        self.memory.write_text(json.dumps(self.asked))
        return super().enter(*arguments)
