"""Mistakes in requests to a service that has weights."""

from __future__ import annotations

from tests.mistakes.mistake import Request

_EVENT = '{"events":[{"amount":12.5,"merchant":"m17"}]}'

REQUESTS = (
    Request("A wrong path", "/predict", 404, _EVENT),
    Request("GET instead of POST", "/v1/predict", 405),
    Request("A form instead of JSON", "/v1/predict", 400, "amount=12.5"),
    Request("An event that is not among events", "/v1/predict", 422, '{"amount":12.5}'),
    Request("A name that is misspelt", "/v1/predict", 422, '{"event":[{"amount":12.5}]}'),
    Request("A wrong type", "/v1/predict", 422, '{"events":[{"amount":"lots"}]}'),
    Request(
        "A field that the model does not know",
        "/v1/predict?strict=true",
        422,
        '{"events":[{"amuont":12.5,"merchant":"m17"}]}',
        note="Without `?strict=true` it is a prediction (200): a missing feature is legal, an "
        "unknown one is counted in `headwater_field_unknown_total`.",
    ),
    Request(
        "A field is missing",
        "/v1/predict?strict=true",
        422,
        '{"events":[{"amount":12.5}]}',
        note="Without `?strict=true` it is a prediction, too.",
    ),
    Request("A question that is misspelt", "/v1/predict?stric=true", 400, _EVENT),
    Request("An answer to it that there is not", "/v1/predict?strict=maybe", 400, _EVENT),
    Request("A command over HTTP that was not switched on", "/v1/admin/pause", 404, method="POST"),
    Request("The same, on, without the token", "/v1/admin/pause", 401, method="POST", admin=True),
)
