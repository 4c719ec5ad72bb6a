"""What a user of kserve's REST client does, from asking for health to inference.

Runs where kserve is installed, which is not where the tests are: its pins do not go with ours.
`python kserve_session.py http://127.0.0.1:8080` prints what the client was told, and what it sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any


async def session(url: str) -> dict[str, Any]:
    """Return {"told": ..., "sent": [request, ...]}."""
    import httpx
    import numpy as np
    from kserve import InferInput, InferRequest
    from kserve.inference_client import InferenceRESTClient, RESTConfig
    from kserve.protocol.infer_type import RequestedOutput

    sent: list[dict[str, Any]] = []

    class Recording(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            header = "inference-header-content-length"
            sent.append(
                {
                    "method": request.method,
                    "path": request.url.path,
                    "headers": {k: v for k, v in request.headers.items() if k in {header}},
                    "body": base64.b64encode(request.content).decode(),
                }
            )
            return await super().handle_async_request(request)

    client = InferenceRESTClient(RESTConfig(transport=Recording(), protocol="v2"))
    amounts = np.array([1.5, 2.5], dtype=np.float32)
    names = np.array([b"m1", b"m2"], dtype=object)
    as_json = [
        InferInput("amount", [2], "FP64", data=[1.5, None]),
        InferInput("merchant", [2], "BYTES", data=["m1", "m2"]),
    ]
    as_bytes = [InferInput("amount", [2], "FP32"), InferInput("merchant", [2], "BYTES")]
    as_bytes[0].set_data_from_numpy(amounts)
    as_bytes[1].set_data_from_numpy(names)
    wanted = [RequestedOutput("kind"), RequestedOutput("refund", {"binary_data": True})]

    async def infer(inputs: list[Any], **more: Any) -> dict[str, Any]:
        request = InferRequest("payments", inputs, request_id="r1", **more)
        found = await client.infer(url, request, model_name="payments")
        return {
            "id": found.id,
            "name": found.model_name,
            "step": found.parameters["step"],
            "outputs": {one.name: one.as_numpy().tolist() for one in found.outputs},
        }

    told = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "payments"),
        "other": await client.is_model_ready(url, "other"),
        "json": await infer(as_json),
        "bytes": await infer(as_bytes, parameters={"binary_data_output": True}),
        "some": await infer(as_bytes, request_outputs=wanted),
    }
    try:
        await infer([InferInput("colour", [1], "FP64", data=[1.0])])
    except httpx.HTTPStatusError as error:
        told["refused"] = error.response.status_code
    await client.close()
    return {"told": told, "sent": sent}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(session(sys.argv[1])), indent=1) + "\n")
