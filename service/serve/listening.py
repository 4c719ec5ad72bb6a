"""The socket that all workers accept from. Knows addresses; does not know processes."""

from __future__ import annotations

import errno
import socket

from service.errors import BadSettings, Problem
from service.settings import ApiSettings


def listen(api: ApiSettings) -> socket.socket:
    """Bind the socket that all workers accept from; BadSettings says what to do when it fails."""
    family = socket.AF_INET6 if ":" in api.host else socket.AF_INET
    try:
        return socket.create_server((api.host, api.port), family=family, backlog=2048)
    except OSError as error:
        raise BadSettings([_unbound(api, error)]) from None


def _unbound(api: ApiSettings, error: OSError) -> Problem:
    if error.errno == errno.EADDRINUSE:
        return Problem(
            "api.port",
            None,
            f"port {api.port} on {api.host} is taken by another process",
            "Stop that process (a `headwater run` that still runs?), or set api.port "
            "(HEADWATER_API__PORT) to a free one; 0 picks one.",
        )
    if error.errno == errno.EACCES:
        return Problem(
            "api.port",
            None,
            f"port {api.port} may not be opened by this user",
            "Set api.port to one above 1023.",
        )
    return Problem(
        "api.host",
        None,
        f"{api.host} cannot be listened on: {error.strerror or error}",
        "Set api.host to an address of this machine; 127.0.0.1 is for this machine alone.",
    )


def url_of(listener: socket.socket) -> str:
    """Return the address under which the API answers."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
