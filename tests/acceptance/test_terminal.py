import os
import pty
import re
import select
import signal
import subprocess
import sys
import time


def test_the_live_view_stays_in_its_place_and_the_terminal_is_left_as_it_was(shell):
    """On a real pseudo-terminal: drawn in place, Ctrl-C from the keyboard, summary, cursor back."""
    master, slave = pty.openpty()
    os.set_inheritable(slave, True)
    process = shell.spawn(
        "node_configs/paper.json",
        env=shell.environment(TERM="xterm", COLUMNS="", LINES=""),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(slave)
    seen, pictures_at_stop, deadline_s = b"", 0, time.monotonic() + 40
    while process.poll() is None and time.monotonic() < deadline_s:
        if select.select([master], [], [], 0.1)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break
        if not pictures_at_stop and seen.count(b"Ctrl-C stops") >= 6:
            pictures_at_stop = seen.count(b"Ctrl-C stops")
            os.write(master, b"\x03")
    assert process.wait(10) == 0
    os.close(master)
    text = seen.decode()
    ups = [int(count) for count in re.findall(r"\x1b\[(\d+)F", text)]
    assert len(ups) >= pictures_at_stop - 1
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h")
    assert "✓ venues" in text
    assert "order submitted" not in text.rpartition("\x1b[?25h")[2]
    summary = text.rpartition("\x1b[?25h")[2]
    assert f"received {signal.SIGINT.name}" in summary
    assert re.search(r"orders +\d+ submitted", summary)


def test_output_that_nobody_reads_any_more_does_not_end_the_node(shell):
    """`| head -3`: the reader goes away, the node trades on until it is asked to stop."""
    process = shell.spawn(
        "node_configs/paper.json",
        "--seconds",
        "4",
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(40) == 0
    events = [record.get("event") for record in shell.records("PAPER-001.paper")]
    assert "OrderFilled" in events


def test_a_terminal_that_nobody_reads_does_not_keep_the_node_from_stopping(shell, wait_until):
    """Ctrl-S, a frozen ssh: the picture waits, the node does not."""
    master, slave = pty.openpty()
    process = shell.spawn(
        "node_configs/paper.json",
        env=shell.environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    seen, deadline_s = b"", time.monotonic() + 40
    while b"Ctrl-C stops" not in seen and time.monotonic() < deadline_s:
        seen += os.read(master, 65536)
    log = shell.data / "logs" / "PAPER-001.paper.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size > 100_000, 30)  # it goes on while its pictures pile up
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(15) == 0
    print(f"ended {time.monotonic() - began:.2f} s after SIGTERM, unread")
    assert time.monotonic() - began < 10
    os.close(master)
    assert "OrderCanceled" in [record.get("event") for record in shell.records("PAPER-001.paper")]


def test_nohup_is_respected(shell):
    """Whoever ignores SIGHUP before the start means it."""
    process = shell.spawn(
        "node_configs/paper.json",
        "--seconds",
        "5",
        env=shell.environment(),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "order submitted" in line:
            process.send_signal(signal.SIGHUP)
            break
    rest = process.stdout.read()
    assert process.wait(20) == 0
    assert "5 seconds are over" in rest


def test_no_output_at_all_is_no_fault(shell):
    """A service manager may give no stdout."""
    command = f"exec {sys.executable} -m nautilus_ext.run node_configs/paper.json --seconds 1 >&-"
    assert subprocess.run(["sh", "-c", command], env=shell.environment(), timeout=40).returncode == 0
