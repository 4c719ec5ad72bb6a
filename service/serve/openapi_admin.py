"""The part of the OpenAPI document that describes /v1/admin, where there is one.

Knows its routes and the shapes of its requests. Does not know the rest of the document, but for
the names of its problems.
"""

from __future__ import annotations

from typing import Any

from service.serve import learner_door
from service.serve.admin import COMMANDS, MARKS, PREFIX

Json = dict[str, Any]

_REASON: Json = {"reason": {"type": "string", "maxLength": 1000, "description": "For the log."}}
_VERSION: Json = {"type": "integer", "minimum": 0}
_PLAIN: Json = {"type": "object", "properties": _REASON, "additionalProperties": False}
_ROLLBACK: Json = {
    "type": "object",
    "properties": {
        "to": {**_VERSION, "description": "Version whose weights to take."},
        "skip_to": {
            "oneOf": [{"enum": ["now", "latest"]}, _VERSION, {"type": "null"}],
            "description": "Where learning goes on; null: after version `to`, all again.",
        },
        **_REASON,
    },
    "required": ["to"],
    "additionalProperties": False,
}
_PROMOTE: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 100, "description": "A challenger, or main."},
        **_REASON,
    },
    "required": ["name"],
    "additionalProperties": False,
}
_STATUS: Json = {"type": "object", "required": sorted(learner_door.STATUS_KEYS)}
_SAYS = {
    "pause": "Stop learning; go on answering",
    "resume": "Learn again, from where pause or a halt stopped",
    "freeze": "Go on answering from the weights of now, and learn beside them",
    "unfreeze": "Serve what was learned meanwhile",
    "pin": "Keep a snapshot, whatever the policy says",
    "unpin": "Leave a snapshot to the policy again",
}


def add_to(document: Json) -> None:
    """Describe /v1/admin in the document."""
    document["tags"].append({"name": "admin", "description": "For whoever knows the token."})
    document["paths"] |= _paths()
    document["components"]["schemas"] |= {
        "Status": _STATUS,
        "Rollback": _ROLLBACK,
        "Promote": _PROMOTE,
    }
    document["components"]["securitySchemes"] = {"admin": {"type": "http", "scheme": "bearer"}}


def _paths() -> Json:
    names = ("Status", "Rollback", "Promote")
    status, rollback, promote = ({"$ref": f"#/components/schemas/{n}"} for n in names)
    plain = {"type": "object"}
    id_: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        f"{PREFIX}/status": {"get": _operation("getStatus", "What the learner does", status)},
        f"{PREFIX}/snapshots": {
            "get": _operation("listSnapshots", "The snapshots on disk", plain),
            "post": _operation("createSnapshot", "Take a snapshot, and wait for it", plain, _PLAIN),
        },
        f"{PREFIX}/rollback": {
            "post": _operation("rollback", "Take an older version's weights", status, rollback)
        },
        f"{PREFIX}/promote": {
            "post": _operation("promote", "Answer from another of the models", status, promote)
        },
        **{
            f"{PREFIX}/{name}": {"post": _operation(name, _SAYS[name], status, _PLAIN)}
            for name in COMMANDS
        },
        **{
            f"{PREFIX}/snapshots/{{id}}/{name}": {
                "post": _operation(f"{name}Snapshot", _SAYS[name], plain, _PLAIN)
                | {"parameters": [id_]}
            }
            for name in MARKS
        },
    }


def _operation(id: str, says: str, reply: Json, body: Json | None = None) -> Json:
    statuses = [401, 503] if body is None else [400, 401, 404, 408, 409, 413, 415, 500, 503]
    found: Json = {
        "operationId": id,
        "summary": says,
        "tags": ["admin"],
        "security": [{"admin": []}],
        "parameters": [],
        "responses": {
            "200": {"description": says, "content": {"application/json": {"schema": reply}}},
            **{str(s): {"$ref": f"#/components/responses/Problem{s}"} for s in statuses},
        },
    }
    if body is not None:
        required = "required" in body or "$ref" in body
        content = {"application/json": {"schema": body}}
        found["requestBody"] = {"required": required, "content": content}
    return found
