"""Predicts and explains by KServe's own client, whose inputs are typed; nothing of ours can be imported here."""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

address, http, model, path = sys.argv[1:]
given = np.load(path)


def request(binary: bool = False, **parameters: Any) -> Any:
    """The input x, typed, or raw."""
    one = InferInput("x", list(given["x"].shape), "FP32")
    one.set_data_from_numpy(given["x"], binary_data=binary)
    return InferRequest(model, [one], request_id="7", parameters=parameters)


async def ask() -> dict[str, Any]:
    """What comes back over gRPC and over HTTP, by both versions of its protocol."""
    options = {"explain_method": "integrated_gradients", "explain_target": 1, "explain_steps": "8"}
    async with InferenceGRPCClient(address) as client:
        found = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": [await client.is_model_ready(model), await client.is_model_ready(64 * "0")],
        }
        predicted = await client.infer(request())
        raw = await client.infer(request(binary=True))
        explained = await client.infer(request(**options))
    one = InferenceRESTClient(RESTConfig(protocol="v1"))
    rows = {"instances": given["x"].tolist()}
    old = await one.infer(f"http://{http}", rows, model_name=model)
    why = await one.explain(f"http://{http}", model, rows | options)
    found["old"] = await one.is_model_ready(f"http://{http}", model)
    two = InferenceRESTClient(RESTConfig(protocol="v2"))
    found["new"] = await two.is_model_ready(f"http://{http}", model)
    new = await two.infer(f"http://{http}", request(**options), model_name=model)
    outputs = {output.name: output for output in explained.outputs}
    np.savez(
        path + ".out.npz",
        y=predicted.outputs[0].as_numpy(),
        raw=raw.outputs[0].as_numpy(),
        values=outputs["attribution:x"].as_numpy(),
        old=np.array(old["predictions"], np.float32),
        why=np.array([one["attributions"]["x"] for one in why["explanations"]], np.float32),
        new={output.name: output for output in new.outputs}["attribution:x"].as_numpy(),
    )
    return found | {"id": predicted.id, "names": sorted(outputs)}


sys.stdout.write(json.dumps(asyncio.run(ask())))
