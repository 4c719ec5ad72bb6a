"""A receiver of posts on this machine."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.processes import PATIENCE_S

SECRET = "s3cret"


class Hook(ThreadingHTTPServer):
    """Takes posts; answers `status`, once `open` is set."""

    def __init__(self) -> None:
        self.posts: queue.Queue[tuple[str, dict]] = queue.Queue()
        self.status, self.open, self.asked = 200, threading.Event(), threading.Event()
        self.open.set()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self.server_port}/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.set()
        self.server.open.wait(PATIENCE_S)
        self.send_response(self.server.status)
        self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.posts.put((self.path, json.loads(body)))

    def log_message(self, *_: object) -> None:
        """Be quiet."""
