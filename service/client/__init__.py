"""A client for the API of a Headwater service, in the ordinary way and for asyncio.

    from service.client import Client

    with Client("http://localhost:8080") as headwater:
        print(headwater.predict([{"amount": 12.5}]).predictions)

Knows the API's JSON. Does not know the service behind it: nothing else of this package is
imported, no torch, no Kafka. Needs httpx and msgspec: `pip install 'headwater[client]'`.
"""

from __future__ import annotations

from service.client.asynchronous import AsyncClient
from service.client.errors import ClientError, NotInTime, Problem, Unreachable
from service.client.replies import (
    Fault,
    Health,
    Learner,
    Model,
    ModelReport,
    Predictions,
    Schemas,
    Status,
    TargetReport,
)
from service.client.requests import Top
from service.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Fault",
    "Health",
    "Learner",
    "Model",
    "ModelReport",
    "NotInTime",
    "Predictions",
    "Problem",
    "Schemas",
    "Status",
    "TargetReport",
    "Top",
    "Unreachable",
]
