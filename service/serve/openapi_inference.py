"""The part of the OpenAPI document that describes /v2, the Open Inference Protocol.

Knows its routes and the shapes of its requests and replies, with the tensors of this model. Does
not know the rest of the document, but for the names of its problems.
"""

from __future__ import annotations

from typing import Any

from service.model.recipe import Recipe
from service.serve.inference_routes import MODEL, PREFIX, VERSION, metadata
from service.serve.tensors import DATATYPES

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_TRUE: Json = {"const": True}
_DATATYPE: Json = {"enum": sorted(DATATYPES)}
_SHAPE: Json = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_HEADER = "Inference-Header-Content-Length"
_BINARY = "Length of the JSON where bytes of tensors follow it (the binary tensor data extension)."
_POST_REFUSALS = (400, 404, 408, 413, 415, 422, 503)


def add_to(document: Json, recipe: Recipe) -> None:
    """Describe /v2 in the document."""
    says = "As KServe, Triton and MLServer have it."
    document["tags"].append({"name": "open inference protocol", "description": says})
    document["paths"] |= _paths(recipe)
    document["components"]["schemas"] |= _components(recipe)


def _paths(recipe: Recipe) -> Json:
    index = _operation("indexRepository", "The model, as Triton lists a repository", _index())
    found = {
        PREFIX: {"get": _operation("getServer", "What answers here", "ServerMetadata")},
        f"{PREFIX}/health/live": {
            "get": _operation("getLive", "The process answers", _object({"live": _TRUE}))
        },
        f"{PREFIX}/health/ready": {
            "get": _operation(
                "getServerReady", "Weights can be served", _ready({"live": _TRUE}), (503,)
            )
        },
        f"{PREFIX}/models": {"get": _operation("listModels", "The one model", _models())},
        f"{PREFIX}/repository/index": {"post": index},
    }
    for path, suffix, parameters in (
        (MODEL, "", [_model(recipe)]),
        (VERSION, "Version", [_model(recipe), _version()]),
    ):
        read = (404, 503) if suffix else (404,)
        operations: dict[str, tuple[str, str, str, str | Json]] = {
            path: ("get", "getModelMetadata", "Inputs and outputs of the model", "ModelMetadata"),
            f"{path}/ready": ("get", "getModelReady", "It can be asked", _ready({"name": _TEXT})),
            f"{path}/infer": ("post", "infer", "Predict tensors", "InferReply"),
        }
        for where, (method, name, said, reply) in operations.items():
            statuses = (404, 503) if where.endswith("/ready") else read
            operation = _operation(f"{name}{suffix}", said, reply, statuses)
            if method == "post":
                _describe_infer(operation, recipe)
            operation["parameters"] = [*parameters, *operation["parameters"]]
            found[where] = {method: operation}
    return found


def _describe_infer(operation: Json, recipe: Recipe) -> None:
    raw: Json = {"schema": {"type": "string", "format": "binary"}}
    schema = {"$ref": "#/components/schemas/InferRequest"}
    example = {"inputs": [_example(recipe)]}
    operation["parameters"] = [
        {
            "name": _HEADER, "in": "header", "description": _BINARY,
            "schema": {"type": "integer", "minimum": 0},
        },
        {
            "name": "strict", "in": "query", "schema": {"type": "boolean"},
            "description": "true: refuse unknown and missing fields.",
        },
    ]  # fmt: skip
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": schema, "example": example},
            "application/octet-stream": raw,
        },
    }
    answered = operation["responses"]["200"]
    answered["content"]["application/octet-stream"] = raw
    answered["headers"] = {_HEADER: {"description": _BINARY, "schema": _TEXT}}
    operation["responses"] |= _refusals(_POST_REFUSALS)


def _example(recipe: Recipe) -> Json:
    """Return one input with one event: whole, so that it suits every model."""
    name, *_ = metadata(recipe, [])["inputs"]
    data = {"FP64": 1.5, "BOOL": True, "INT64": 1}.get(name["datatype"], "a")
    shape = [1 if size == -1 else size for size in name["shape"]]
    count = shape[-1] if len(shape) == 2 else 1
    return {**name, "shape": shape, "data": [data] * count}


def _components(recipe: Recipe) -> Json:
    parameters: Json = {"type": "object"}
    tensor = {"name": _TEXT, "datatype": _DATATYPE, "shape": _SHAPE}
    names = [one["name"] for one in metadata(recipe, [])["inputs"]]
    outputs = [target.name for target in recipe.schema.targets]
    any_shape: Json = {"type": "array", "items": {"type": "integer", "minimum": -1}}
    described = _list(_object({**tensor, "shape": any_shape}, parameters=parameters))
    return {
        "ServerMetadata": _object(
            {"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)},
        ),
        "ModelMetadata": {
            **_object(
                {
                    "name": _TEXT,
                    "versions": _list(_TEXT),
                    "platform": _TEXT,
                    "inputs": described,
                    "outputs": described,
                }
            ),
            "examples": [metadata(recipe, ["1"])],
        },
        "InferRequest": _object(
            {
                "inputs": _list(
                    _object(
                        {**tensor, "name": {"enum": names}},
                        data={"type": "array", "description": "Nested as the shape, or flat."},
                        parameters=parameters,
                    )
                )
            },
            id=_TEXT,
            parameters=parameters,
            outputs=_list(_object({"name": {"enum": outputs}}, parameters=parameters)),
        ),
        "InferReply": _object(
            {
                "model_name": _TEXT,
                "model_version": _TEXT,
                "parameters": parameters,
                "outputs": _list(
                    _object(
                        {**tensor, "name": {"enum": outputs}},
                        data=_list({"type": "number"}),
                        parameters=parameters,
                    )
                ),
            },
            id=_TEXT,
        ),
    }


def _operation(id: str, says: str, reply: str | Json, refusals: tuple[int, ...] = ()) -> Json:
    schema = {"$ref": f"#/components/schemas/{reply}"} if isinstance(reply, str) else reply
    answered: Json = {"description": says, "content": {"application/json": {"schema": schema}}}
    return {
        "operationId": id,
        "summary": says,
        "tags": ["open inference protocol"],
        "parameters": [],
        "responses": {"200": answered, **_refusals(refusals)},
    }


def _refusals(statuses: tuple[int, ...]) -> Json:
    return {str(s): {"$ref": f"#/components/responses/Problem{s}"} for s in statuses}


def _model(recipe: Recipe) -> Json:
    found = {"name": "model", "in": "path", "required": True, "schema": _TEXT}
    return {**found, "example": recipe.name}


def _version() -> Json:
    says = "The version that is served, or live, or latest."
    found = {"name": "version", "in": "path", "required": True, "schema": _TEXT}
    return {**found, "description": says, "example": "live"}


def _index() -> Json:
    names = ("name", "version", "state", "reason")
    return _list(_object(dict.fromkeys(names, _TEXT)))


def _models() -> Json:
    return _object({"models": _list(_TEXT)})


def _ready(more: Json) -> Json:
    return _object({"ready": _TRUE, **more})


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _object(required: Json, **optional: Json) -> Json:
    return {"type": "object", "properties": {**required, **optional}, "required": sorted(required)}
