"""The least that an API can do: a FastAPI app that reads the body and returns a small dict.

Served as the service serves: one uvicorn process, the same event loop and HTTP parser, no access
log. `python -m benchmarks.noop PORT` runs until it is told to stop.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request

from benchmarks.processes import PREDICT


def make_app() -> FastAPI:
    """Return the app."""
    app = FastAPI()

    @app.post(PREDICT)
    async def nothing(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    return app


def main() -> None:
    """Serve."""
    uvicorn.run(
        make_app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
    )


if __name__ == "__main__":
    main()
