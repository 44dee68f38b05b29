"""A run that ends with the program that started it, however that one ends."""

import os
import sys
import threading


def stop_with_input() -> None:
    """End this process at once when its standard input ends; runs continue from their last checkpoint."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)
