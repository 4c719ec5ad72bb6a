"""`python -m service` and the command `headwater`."""

import signal
import sys

_raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else it is ignored
if _raises:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C amid imports: no traceback

from service.cli.main import main  # noqa: E402 - it is what takes long

if _raises:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    sys.exit(main())
