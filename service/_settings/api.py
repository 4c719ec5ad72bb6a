"""The settings that say where and to whom answers are given."""

from __future__ import annotations

from pydantic import Field

from service._settings.event import Section
from service._settings.values import Host, Token


class ApiSettings(Section):
    """Where predictions are answered."""

    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port to listen on; 0: any free one.")
    workers: int = Field(1, ge=1, le=64, description="API processes, in processes.")
    max_body_bytes: int = Field(
        4_194_304, ge=1024, description="Largest body of a request, in bytes; above it: 413."
    )
    max_events: int = Field(
        10_000, ge=1, description="Most events in one request, in events; above it: 413."
    )
    admin_token: Token | None = Field(
        None,
        description="Whoever knows this text may give commands under /v1/admin; null: there is no "
        "/v1/admin. At least 16 characters, best from HEADWATER_API__ADMIN_TOKEN_FILE.",
    )
    allow_unauthenticated: bool = Field(
        False,
        description="Let anyone who reaches a host beyond loopback ask for predictions "
        "(--allow-unauthenticated says the same).",
    )
