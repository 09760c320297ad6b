"""Predicts and explains by Triton's own client, over gRPC and HTTP; nothing of ours can be imported here."""

import json
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

address, http, model, words, name, path = sys.argv[1:]
given = np.load(path)
client = triton.InferenceServerClient(address)


def tensor(array: Any, kind: str = "FP32", of: Any = triton) -> Any:
    """The input x, raw."""
    one = of.InferInput("x", list(array.shape), kind)
    one.set_data_from_numpy(array, **({"binary_data": False} if of is triton_http else {}))
    return one


metadata = client.get_model_metadata(model, as_json=True)
predicted = client.infer(model, [tensor(given["x"])], request_id="7")
explained = client.infer(
    f"models/{model}",
    [tensor(given["x"])],
    model_version="1",
    outputs=[triton.InferRequestedOutput("attribution:x"), triton.InferRequestedOutput("explanation:residual")],
    parameters={"explain_method": "integrated_gradients", "explain_target": "y:1", "explain_steps": 8},
    client_timeout=60,
)
text = triton.InferInput("word", [2], "BYTES")
text.set_data_from_numpy(np.array(["\u00e4h", ""], dtype=object))
echoed = client.infer(words, [tensor(given["four"]), text])
try:
    client.infer(model, [tensor(given["x"].astype(np.float64), "FP64")])
    refused = ""
except InferenceServerException as error:
    refused = error.status() + " " + error.message()
over_http = triton_http.InferenceServerClient(http)
by_name = over_http.infer(
    name,
    [tensor(given["x"], of=triton_http)],
    outputs=[triton_http.InferRequestedOutput("attribution:x", binary_data=False)],
    parameters={"explain_method": "integrated_gradients", "explain_target": "y:1", "explain_steps": 8},
)
np.savez(
    path + ".out.npz",
    y=predicted.as_numpy("y"),
    values=explained.as_numpy("attribution:x"),
    residual=explained.as_numpy("explanation:residual"),
    by_name=by_name.as_numpy("attribution:x"),
)
found = {
    "live": client.is_server_live() and over_http.is_server_live(),
    "ready": client.is_server_ready() and over_http.is_server_ready(),
    "model": [client.is_model_ready(model), client.is_model_ready(64 * "0"), over_http.is_model_ready(name)],
    "server": client.get_server_metadata(as_json=True)["name"],
    "inputs": metadata["inputs"],
    "id": predicted.get_response().id,
    "words": [text.decode() for text in echoed.as_numpy("echo")],
    "method": explained.get_response().parameters["explain_method"].string_param,
    "refused": refused,
}
sys.stdout.write(json.dumps(found))
