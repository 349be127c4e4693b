"""Signals find a training between two steps, never while weights change or are saved.

They are those of Ctrl-C, of `kill`, and of a terminal that is closed.
"""

import signal
import threading
from contextlib import contextmanager

# A terminal that is closed says so, but not on Windows.
STOPS = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}


class Signals:
    """While it is entered, a signal waits from the update of the weights to `release`.

    At any other moment it does what it did before; one which would end the process at
    once raises SystemExit with the code that a shell has for it. A signal that is
    ignored stays ignored. Python hears signals in its main thread alone, and in another
    one this does nothing.
    """

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.held, self.waiting, self.before = False, None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self.before[number] = signal.signal(number, self.arrive)
        self.hook = self.optimizer.register_step_pre_hook(self.hold)
        return self

    def __exit__(self, *error):
        self.hook.remove()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hold(self, *optimizer_and_arguments):
        """From now on signals wait."""
        self.held = True

    def release(self):
        """What has come is heard now, and what comes at once."""
        self.held = False
        if self.waiting:
            arrived, self.waiting = self.waiting, None
            self.arrive(*arrived)

    @contextmanager
    def kept_waiting(self):
        """In the block signals wait: PyTorch makes an error of its own of Ctrl-C."""
        self.hold()
        yield
        self.release()

    def arrive(self, number, frame):
        """A signal has come."""
        if self.held:
            self.waiting = number, frame
        elif callable(self.before[number]):
            self.before[number](number, frame)
        else:
            raise SystemExit(128 + number)
