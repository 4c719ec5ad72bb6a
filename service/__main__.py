"""`python -m service` and the command `headwater`."""

import signal
import sys

_usual = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C amid imports: no traceback

from service.cli.main import main  # noqa: E402 - it is what takes long

signal.signal(signal.SIGINT, _usual)

if __name__ == "__main__":
    sys.exit(main())
