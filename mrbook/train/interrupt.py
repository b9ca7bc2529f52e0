"""Finish the step before stopping."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["interruptible"]


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one interrupts as usual."""
    event = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def handle(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
