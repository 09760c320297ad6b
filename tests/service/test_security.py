"""Strangers at the edge: no token, a wrong one, a forged one, no scope, no quota; nothing is answered, and nothing leaks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from grpc_health.v1 import health_pb2, health_pb2_grpc

from explainpb.inference import inference_service_pb2 as oip
from explainpb.inference.inference_service_pb2_grpc import GRPCInferenceServiceStub
from explainpb.v1 import audit_service_pb2, explanation_service_pb2, model_service_pb2
from explainpb.v1.audit_service_pb2_grpc import AuditServiceStub
from explainpb.v1.explanation_service_pb2_grpc import ExplanationServiceStub
from explainpb.v1.model_service_pb2_grpc import ModelServiceStub
from explainsvc import cli
from explainsvc.client import Client
from explainsvc.codec.questions import Question, to_fields
from explainsvc.codec.tensors import to_named
from explainsvc.connecting import Connection
from explainsvc.errors import Unauthenticated
from explainsvc.service import access, health
from explainsvc.service.config import Config
from explainsvc.service.server import SERVICES, Listening, in_thread
from explainsvc.service.web_tokens import WebTokens
from tests.service import models
from tests.service.certificates import Signed, authority, signed
from tests.service.edges import (
    AUDIENCE,
    ED_KEY,
    ISSUER,
    RSA_KEY,
    TOKENS,
    bearer,
    details,
    key_set,
    outcome,
    principals,
    served,
    web_token,
)
from tests.service.processes import wait_for

UNKNOWN = 64 * "0"


@dataclass(frozen=True)
class Guarded:
    """A server that asks who calls, its files, and channels to it."""

    folder: Path
    root: Signed
    listening: Listening
    channel: grpc.Channel

    def token_client(self, token: str) -> Client:
        """The product's own client, with a token."""
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(self.root.chain), grpc.access_token_call_credentials(token)
        )
        return Client(self.listening.grpc, credentials=credentials)

    def audit_lines(self) -> list[dict[str, Any]]:
        """What the audit log says."""
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]

    def get(self, path: str, token: str = "", body: Any = None) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers over HTTPS; with a body it is posted."""
        context = ssl.create_default_context(cadata=self.root.chain.decode())
        url, data = f"https://{self.listening.http}{path}", None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers=dict(bearer(token)) if token else {})
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as response:  # noqa: S310
                return response.status, response.read().decode(), dict(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """TLS, tokens, web tokens, quotas, an audit log, HTTP; one worker."""
    folder, root = tmp_path_factory.mktemp("guarded"), authority()
    certificate, key = signed(root, "localhost").write(folder, "server")
    config = Config(
        address="127.0.0.1:0", store=folder / "store", workers=1, worker_threads=1, http_address="127.0.0.1:0",
        tls_certificate=certificate, tls_key=key, principals=principals(folder / "principals.toml"), metrics_open=False,
        jwt_keys=key_set(folder / "keys.json", "rsa", "ed"), jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_tenant="group",
        audit_log=folder / "audit.jsonl", reflection="authenticated",
    )  # fmt: skip
    with ExitStack() as stack:
        listening = stack.enter_context(in_thread(config))
        credentials = grpc.ssl_channel_credentials(root.chain)
        channel = stack.enter_context(grpc.secure_channel(listening.grpc, credentials))
        yield Guarded(folder, root, listening, channel)


@pytest.fixture(scope="module")
def cnn_digest(guarded: Guarded, cnn_bytes: bytes) -> str:
    """The net, uploaded by alice."""
    with guarded.token_client(TOKENS["alice"]) as client:
        return client.upload(cnn_bytes)


def explain_request(digest: str) -> explanation_service_pb2.ExplainRequest:
    """One gradient of two items: 4 units."""
    fields = to_fields(digest, Question("gradient", 1, None, {}, False))
    return explanation_service_pb2.ExplainRequest(**fields, inputs=to_named(models.image()))


SERVED = dict(served())
OPEN = {f"/{health.SERVICE}/{name}" for name in ("Check", "Watch", "List")} | {
    f"/inference.GRPCInferenceService/Server{name}" for name in ("Live", "Ready")
}


def test_every_rpc_has_its_scopes() -> None:
    """The table is complete over what is served, and names nothing that is not; what it lacks is for administrators."""
    assert SERVED.keys() - access.SCOPES_OF.keys() == set(access.REFLECTION) & SERVED.keys() != set()
    assert access.SCOPES_OF.keys() - SERVED.keys() == set()
    assert {rpc for rpc in access.SCOPES_OF if access.scopes_of(rpc) == access.OPEN} == OPEN
    assert access.scopes_of("/explainsvc.v2.New/Rpc") == access.ADMIN


@pytest.mark.parametrize("rpc", sorted(SERVED.keys() - OPEN - set(access.REFLECTION)))
def test_no_rpc_answers_a_stranger(guarded: Guarded, rpc: str) -> None:
    """Without a token UNAUTHENTICATED, with one that lacks the scope PERMISSION_DENIED, before the request is even read."""
    call = guarded.channel.stream_stream(rpc, request_serializer=bytes, response_deserializer=bytes)

    def code(token: str) -> str:
        with pytest.raises(grpc.RpcError) as error:
            list(call(iter([b"no message \xff"]), metadata=bearer(token) if token else None, timeout=20))
        return error.value.code().name

    assert code("") == "UNAUTHENTICATED"
    assert code(web_token(scope="none")) == "PERMISSION_DENIED"
    assert code(TOKENS["root"]) == "INVALID_ARGUMENT"


OTHER_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
ALG_NONE = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoicnNhIn0." + web_token().split(".")[1] + "."
FORGED = {
    "no token": "",
    "wrong token": "token-of-nobody",
    "no token of any kind": "a.b.c",
    "expired": web_token(exp=int(time.time()) - 60),
    "not yet valid": web_token(nbf=int(time.time()) + 600),
    "no expiry": web_token(exp=None),
    "no subject": web_token(sub=None),
    "no tenant": web_token(group=None),
    "for another audience": web_token(aud="another"),
    "of another issuer": web_token(iss="https://evil.example"),
    "signed by another key": web_token(OTHER_KEY),
    "of an unknown key": web_token(kid="elsewhere"),
    "another key of the set": web_token(ED_KEY, "EdDSA", "rsa"),
    "an algorithm that is not allowed": web_token(RSA_KEY, "RS512"),
    "signed by a shared secret": web_token("secret-secret-secret-secret-secret", "HS256", "shared"),
    "alg=none": ALG_NONE,
}


@pytest.mark.parametrize("kind", FORGED)
def test_every_wrong_token_gets_the_same_answer(guarded: Guarded, cnn_digest: str, kind: str) -> None:
    """Whatever is wrong with it, and whether the model exists or not: one code, one message, the same details."""
    call = ModelServiceStub(guarded.channel).GetModel
    metadata = bearer(FORGED[kind]) if FORGED[kind] else None
    answers = {outcome(call, model_service_pb2.GetModelRequest(digest=digest), metadata) for digest in (cnn_digest, UNKNOWN)}
    assert answers == {outcome(call, model_service_pb2.GetModelRequest(digest=UNKNOWN), bearer("anything"))}
    ((code, _, status),) = answers
    assert code == "UNAUTHENTICATED"
    assert details(status)["ErrorInfo"].reason == "UNAUTHENTICATED"


def test_good_tokens_are_let_through(guarded: Guarded, cnn_digest: str, cnn: Any) -> None:
    """A static token, RS256 and EdDSA, each of the tenant that owns the model; the answer is the library's; scopes bind."""
    for token in (TOKENS["alice"], web_token(), web_token(ED_KEY, "EdDSA", "ed")):
        with guarded.token_client(token) as client:
            values = client.explain(cnn_digest, models.image(), target=1).values["x"]
            np.testing.assert_array_equal(values, cnn.explain(models.image(), target=1).values["x"])
    get = ModelServiceStub(guarded.channel).GetModel, model_service_pb2.GetModelRequest(digest=cnn_digest)
    assert [outcome(*get, bearer(token))[0] for token in (TOKENS["bob"], web_token(group="other"))] == ["NOT_FOUND", "NOT_FOUND"]
    call, request = AuditServiceStub(guarded.channel).ListAudits, audit_service_pb2.ListAuditsRequest()
    code, message, status = outcome(call, request, bearer(TOKENS["poor"]))
    assert (code, details(status)["ErrorInfo"].reason) == ("PERMISSION_DENIED", "SCOPE_MISSING")
    assert "poor" not in message
    assert outcome(call, request, bearer(TOKENS["root"]))[0] == "OK"
    assert outcome(call, request, [*bearer(TOKENS["root"]), *bearer(TOKENS["root"])])[0] == "UNAUTHENTICATED"


def test_the_command_line_shows_a_token(guarded: Guarded, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """From a file or the variable, over TLS by the authority that is named; never over a connection that others can read."""
    (guarded.folder / "ca.pem").write_bytes(guarded.root.chain)
    (guarded.folder / "token").write_text(TOKENS["alice"] + "\n")
    server = ["--server", guarded.listening.grpc]
    trusting = [*server, "--ca", str(guarded.folder / "ca.pem")]

    def said(*arguments: str) -> tuple[int, str]:
        code = cli.main([*arguments, "methods", "--json"])
        return code, "".join(capsys.readouterr())

    code, text = said(*trusting, "--token-file", str(guarded.folder / "token"))
    assert (code, "gradient" in text) == (0, True)
    assert said(*trusting)[0] == 1
    monkeypatch.setenv("EXPLAINSVC_TOKEN", TOKENS["bob"])
    assert said(*trusting)[0] == 0
    assert "expected TLS" in said("--server", "explain.example:443")[1]
    assert said(*server, "--certificate", str(guarded.folder / "ca.pem"))[0] == 2
    assert said("--ca", str(guarded.folder / "ca.pem"))[0] == 2
    with Client(Connection(guarded.listening.grpc, ca=guarded.root.chain, token=TOKENS["alice"])) as client:
        assert len(client.methods()) > 50


def test_quota_in_cost_units(guarded: Guarded, cnn_digest: str) -> None:
    """4 of 5 units are answered, the next 4 refused with the time until there are so many, and after it answered."""
    call, request = ExplanationServiceStub(guarded.channel).Explain, explain_request(cnn_digest)
    assert outcome(call, request, bearer(TOKENS["poor"]))[0] == "OK"
    code, _, status = outcome(call, request, bearer(TOKENS["poor"]))
    wait = details(status)["RetryInfo"].retry_delay.ToNanoseconds() / 1e9
    assert (code, details(status)["ErrorInfo"].reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert 0.5 < wait <= 1.5
    time.sleep(wait)
    assert outcome(call, request, bearer(TOKENS["poor"]))[0] == "OK"
    request.method = "smoothgrad"
    code, _, status = outcome(call, request, bearer(TOKENS["poor"]))
    assert (code, "RetryInfo" in details(status)) == ("RESOURCE_EXHAUSTED", False)
    assert outcome(call, request, bearer(TOKENS["alice"]))[0] == "OK"
    text = guarded.get("/metrics", TOKENS["root"])[1]
    assert 'explainsvc_quota_refusals_total{reason="rate"} 1.0' in text
    assert 'explainsvc_quota_refusals_total{reason="size"} 1.0' in text


def test_calls_of_one_principal_at_a_time(guarded: Guarded) -> None:
    """While a call of the principal runs, the next is refused; when it has ended, no longer. Others are not concerned."""
    explanations = ExplanationServiceStub(guarded.channel)
    call, request = explanations.ListMethods, explanation_service_pb2.ListMethodsRequest()
    held = guarded.channel.stream_unary(
        "/explainsvc.v1.ExplanationService/Predict", request_serializer=bytes, response_deserializer=bytes
    )
    silence, before = _Silence(), _begun(guarded, "Predict")
    running = held.future(silence, metadata=bearer(TOKENS["poor"]))
    wait_for(lambda: _begun(guarded, "Predict") > before, 10)  # else it might come while the next one runs
    code, message, _ = outcome(call, request, bearer(TOKENS["poor"]))
    assert (code, "1 calls of the caller run already" in message) == ("RESOURCE_EXHAUSTED", True)
    assert outcome(call, request, bearer(TOKENS["alice"]))[0] == "OK"
    silence.over = True
    assert running.code() == grpc.StatusCode.INVALID_ARGUMENT
    wait_for(lambda: outcome(call, request, bearer(TOKENS["poor"]))[0] == "OK", 10)


def _begun(guarded: Guarded, method: str) -> float:
    """Calls of a method that the server has begun to answer."""
    lines = guarded.get("/metrics", TOKENS["root"])[1].splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if f'started_total{{grpc_method="{method}"' in line)


class _Silence:
    """A stream of requests that has none, and ends when it is told to."""

    over = False

    def __iter__(self) -> _Silence:
        return self

    def __next__(self) -> bytes:
        while not self.over:
            time.sleep(0.01)
        raise StopIteration


def test_health_is_open_but_not_of_models(guarded: Guarded, cnn_digest: str) -> None:
    """Probes need no token, not even a good one; whether a model is there is told only to who may see models."""
    stub = health_pb2_grpc.HealthStub(guarded.channel)

    def check(name: str, token: str = "") -> str:
        return outcome(stub.Check, health_pb2.HealthCheckRequest(service=name), bearer(token) if token else None)[0]

    model, missing = health.MODELS + cnn_digest, health.MODELS + UNKNOWN
    assert [check(name) for name in ("", SERVICES[0], model, missing)] == ["OK", "OK", "NOT_FOUND", "NOT_FOUND"]
    assert [check("", "expired"), check(model, "wrong"), check(model, web_token(scope=""))] == ["OK", "NOT_FOUND", "NOT_FOUND"]
    assert [check(name, TOKENS["alice"]) for name in (model, missing)] == ["OK", "NOT_FOUND"]


def test_http_asks_as_grpc_does(guarded: Guarded) -> None:
    """Probes are open; metrics, where they are not, take a token; a refusal has the same reason, as JSON, and no versions."""
    assert guarded.get("/healthz")[:2] == (200, "ok\n")
    assert json.loads(guarded.get("/readyz")[1]) == {"ready": True, "reasons": {}}
    status, body, headers = guarded.get("/metrics")
    assert (status, headers["WWW-Authenticate"], headers["Server"]) == (401, "Bearer", "explainsvc")
    assert json.loads(body)["error"]["details"][0]["reason"] == "UNAUTHENTICATED"
    assert guarded.get("/metrics", web_token(scope=""))[0] == 403
    call = ModelServiceStub(guarded.channel).GetModel
    assert outcome(call, model_service_pb2.GetModelRequest(digest="0" * 64), ())[0] == "UNAUTHENTICATED"
    status, text, headers = guarded.get("/metrics", TOKENS["reader"])
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert 'grpc_server_handled_total{grpc_code="UNAUTHENTICATED",grpc_method="GetModel"' in text
    assert guarded.get("/secret")[0] == 404


def infer_request(digest: str, **parameters: str) -> oip.ModelInferRequest:
    """Two items, by the Open Inference Protocol."""
    x = models.image()["x"]
    request = oip.ModelInferRequest(model_name=digest, raw_input_contents=[x.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    for name, value in parameters.items():
        request.parameters[name].string_param = value
    return request


def test_the_open_inference_protocol_is_behind_the_same_gate(guarded: Guarded, cnn_digest: str) -> None:
    """Scopes, owners, quotas and digests hold as for Explain; a model of others cannot be told from one that is not there."""
    stub = GRPCInferenceServiceStub(guarded.channel)
    names = ("alice", "bob", "reader", "thrifty", "root")
    codes = [outcome(stub.ModelInfer, infer_request(cnn_digest), bearer(TOKENS[name]))[0] for name in names]
    assert codes == ["OK", "NOT_FOUND", "PERMISSION_DENIED", "OK", "OK"]
    foreign, missing = (outcome(stub.ModelInfer, infer_request(name), bearer(TOKENS["bob"])) for name in (cnn_digest, UNKNOWN))
    assert foreign[1].replace(cnn_digest, UNKNOWN) == missing[1]
    ready = [stub.ModelReady(oip.ModelReadyRequest(name=cnn_digest), metadata=bearer(TOKENS[n])).ready for n in ("alice", "bob")]
    assert ready == [True, False]
    code, _, status = outcome(stub.ModelInfer, infer_request(cnn_digest, explain_method="gradient"), bearer(TOKENS["thrifty"]))
    assert (code, details(status)["ErrorInfo"].reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")  # 6 units of 5
    lines = [line for line in guarded.audit_lines() if line["rpc"].endswith("/ModelInfer") and line["principal"] == "alice"]
    sha256 = hashlib.sha256(models.image()["x"].tobytes()).hexdigest()
    assert [(line["model_digest"], line["input_sha256"], line["code"]) for line in lines] == [(cnn_digest, [sha256], "OK")]


def test_kserve_over_http_is_behind_the_same_gate(guarded: Guarded, cnn_digest: str) -> None:
    """The same for :explain; the audit log has its route and never its path."""
    body, path = {"instances": models.image()["x"].tolist(), "explain_target": 1}, f"/v1/models/{cnn_digest}:explain"
    tokens = [*(TOKENS[name] for name in ("alice", "bob", "reader", "root")), "", "forged"]
    assert [guarded.get(path, token, body)[0] for token in tokens] == [200, 404, 403, 200, 401, 401]
    dear = guarded.get(path, TOKENS["thrifty"], body | {"explain_method": "smoothgrad"})
    assert (dear[0], json.loads(dear[1])["details"][0]["reason"]) == (429, "QUOTA_EXCEEDED")
    foreign, missing = (guarded.get(f"/v1/models/{name}:explain", TOKENS["bob"], body) for name in (cnn_digest, UNKNOWN))
    assert foreign[1].replace(cnn_digest, UNKNOWN) == missing[1]
    assert (guarded.get("/v2/health/ready")[0], guarded.get("/v2")[0]) == (200, 401)
    lines = [line for line in guarded.audit_lines() if line["rpc"].endswith(":explain") and line["principal"] == "alice"]
    sha256 = hashlib.sha256(models.image()["x"].tobytes()).hexdigest()
    assert [(line["rpc"], line["model_digest"], line["input_sha256"], line["code"]) for line in lines] == [
        ("/v1/models/{name:.+}:explain", cnn_digest, [sha256], "OK")
    ]


def test_the_audit_log_has_every_model_of_a_batch(guarded: Guarded, cnn_digest: str) -> None:
    """The first as of every call, the others beside it, each once; also those that are not there."""
    named, request = [cnn_digest, UNKNOWN, cnn_digest, "ab" * 32, UNKNOWN], explanation_service_pb2.ExplainRequest
    requests = [
        explanation_service_pb2.ExplainBatchRequest(id=str(number), request=request(model_digest=digest))
        for number, digest in enumerate(named)
    ]
    list(ExplanationServiceStub(guarded.channel).ExplainBatch(iter(requests), metadata=bearer(TOKENS["alice"])))
    line = next(line for line in reversed(guarded.audit_lines()) if line["rpc"].endswith("/ExplainBatch"))
    assert (line["model_digest"], line["other_model_digests"]) == (cnn_digest, [UNKNOWN, "ab" * 32])


def test_request_ids_come_back(guarded: Guarded) -> None:
    """A sane one is taken over, another replaced; both on success and on failure."""
    call, request = ExplanationServiceStub(guarded.channel).ListMethods, explanation_service_pb2.ListMethodsRequest()

    def returned(sent: str, token: str) -> str:
        _, made = call.with_call(request, metadata=[*bearer(token), ("x-request-id", sent)])
        return str(dict(made.trailing_metadata())["x-request-id"])

    assert returned("job-7/a", TOKENS["alice"]) == "job-7/a"
    assert len(returned('"}{"principal": "root', TOKENS["alice"])) == 32
    with pytest.raises(grpc.RpcError) as error:
        returned("job-8", "wrong")
    assert dict(error.value.trailing_metadata())["x-request-id"] == "job-8"


def test_the_audit_log_tells_who_did_what_and_nothing_else(guarded: Guarded, cnn_digest: str, cnn_bytes: bytes) -> None:
    """Principal, rpc, digests and outcome of each call; no token, no path, no name, no number of any tensor."""
    secret = models.image() | {"x": np.full((1, 1, 6, 6), 0.123456, np.float32)}
    with guarded.token_client(TOKENS["bob"]) as client:
        client.upload(cnn_bytes)
        client.predict(cnn_digest, secret)
        with pytest.raises(Exception, match="secret-input"):
            client.predict(cnn_digest, {"secret-input": secret["x"]})
    lines = [line for line in guarded.audit_lines() if line["principal"] == "bob"]
    codes = [(line["rpc"].rpartition("/")[2], line["code"]) for line in lines]
    assert codes[-3:] == [("UploadModel", "OK"), ("Predict", "OK"), ("Predict", "INVALID_ARGUMENT")]
    sha256 = hashlib.sha256(secret["x"].tobytes()).hexdigest()
    assert [(line["model_digest"], line["input_sha256"]) for line in lines[-2:]] == 2 * [(cnn_digest, [sha256])]
    fields = {"time", "principal", "rpc", "request_id", "model_digest", "other_model_digests", "audit_id", "input_sha256"}
    assert {frozenset(line) for line in guarded.audit_lines()} == {frozenset(fields | {"code", "milliseconds"})}
    text = (guarded.folder / "audit.jsonl").read_text()
    forbidden = [*TOKENS.values(), *filter(None, FORGED.values()), str(guarded.folder), "store", "secret", "0.12345", "gradient"]
    assert [word for word in forbidden if word in text] == []
    uploads = [line for line in guarded.audit_lines() if line["rpc"].endswith("UploadModel") and line["code"] == "OK"]
    assert [line["model_digest"] for line in uploads] == 2 * [cnn_digest]
    (guarded.folder / "audit.jsonl").rename(guarded.folder / "audit.1")
    with guarded.token_client(TOKENS["bob"]) as client:
        client.methods()
    assert [line["rpc"].rpartition("/")[2] for line in guarded.audit_lines()] == ["ListMethods"]  # as after logrotate
    assert [(guarded.folder / name).stat().st_mode & 0o077 for name in ("audit.jsonl", "audit.1")] == [0, 0]
    with guarded.token_client(TOKENS["bob"]) as client:
        client.delete(cnn_digest)  # that it is not bob's is what other tests begin with


def test_files_of_keys_and_principals_are_read_anew(guarded: Guarded) -> None:
    """A token taken out of the file is refused at once, a key added to the set accepted; a torn file changes nothing."""
    call, request = ExplanationServiceStub(guarded.channel).ListMethods, explanation_service_pb2.ListMethodsRequest()
    ed = bearer(web_token(ED_KEY, "EdDSA", "ed"))
    try:
        key_set(guarded.folder / "keys.json", "rsa")
        principals(guarded.folder / "principals.toml", without="bob")
        assert outcome(call, request, ed)[0] == "UNAUTHENTICATED"
        assert outcome(call, request, bearer(TOKENS["bob"]))[0] == "UNAUTHENTICATED"
        (guarded.folder / "principals.toml").write_text("[[principal]")
        assert [outcome(call, request, bearer(TOKENS[name]))[0] for name in ("alice", "bob")] == ["OK", "UNAUTHENTICATED"]
    finally:
        key_set(guarded.folder / "keys.json", "rsa", "ed")
        principals(guarded.folder / "principals.toml")
    assert [outcome(call, request, metadata)[0] for metadata in (ed, bearer(TOKENS["bob"]))] == ["OK", "OK"]


def test_certificates_are_read_anew(guarded: Guarded) -> None:
    """After the files change, new handshakes of both ports have the new certificate; connections that are open go on."""
    other = authority("another")
    call, request = ExplanationServiceStub(guarded.channel).ListMethods, explanation_service_pb2.ListMethodsRequest()
    before = (guarded.folder / "server.pem").read_bytes(), (guarded.folder / "server.key").read_bytes()
    new = signed(other, "localhost")
    assert outcome(call, request, bearer(TOKENS["alice"]))[0] == "OK"  # now the connection is open
    try:
        (guarded.folder / "server.pem").write_bytes(new.chain)
        assert _trusted(guarded, guarded.root) == [True, True]  # the key does not fit yet: what was read before stays
        (guarded.folder / "server.key").write_bytes(new.secret)
        assert (_trusted(guarded, guarded.root), _trusted(guarded, other)) == ([False, False], [True, True])
        assert outcome(call, request, bearer(TOKENS["alice"]))[0] == "OK"
    finally:
        (guarded.folder / "server.pem").write_bytes(before[0])
        (guarded.folder / "server.key").write_bytes(before[1])
    assert _trusted(guarded, guarded.root) == [True, True]


def _trusted(guarded: Guarded, root: Signed, client: Signed | None = None) -> list[bool]:
    """Whether a new handshake over gRPC and over HTTP succeeds for a client that trusts this authority."""
    key, chain = (None, None) if client is None else (client.secret, client.chain)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(guarded.listening.grpc, grpc.ssl_channel_credentials(root.chain, key, chain), options) as channel:
        over_grpc = outcome(health_pb2_grpc.HealthStub(channel).Check, health_pb2.HealthCheckRequest())[0] == "OK"
    (guarded.folder / "trusted.pem").write_bytes(root.chain)
    command: list[str | Path] = ["curl", "-sS", "-o", "/dev/null", "--cacert", guarded.folder / "trusted.pem"]
    if client is not None:
        chain_path, key_path = client.write(guarded.folder, "curl")
        command += ["--cert", chain_path, "--key", key_path]
    done = subprocess.run([*command, f"https://{guarded.listening.http}/healthz"], capture_output=True, check=False)
    return [over_grpc, done.returncode == 0]


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Mutual TLS, and the certificate of one principal in the file."""
    folder, root = tmp_path_factory.mktemp("mutual"), authority()
    certificate, key = signed(root, "localhost").write(folder, "server")
    (folder / "ca.pem").write_bytes(root.chain)
    config = Config(
        address="127.0.0.1:0", store=folder / "store", workers=1, worker_threads=1, http_address="127.0.0.1:0",
        tls_certificate=certificate, tls_key=key, tls_client_ca=folder / "ca.pem", certificate_scopes=("explain",),
        principals=principals(folder / "principals.toml", root="URI=spiffe://example/root"), audit_log=folder / "audit.jsonl",
    )  # fmt: skip
    with in_thread(config) as listening, grpc.insecure_channel(listening.grpc) as channel:
        yield Guarded(folder, root, listening, channel)


def test_client_certificates(mutual: Guarded) -> None:
    """None, an expired one and one of another authority are no connection; a good one is a principal by its subject or URI."""
    strangers: list[Signed | None] = [signed(mutual.root, "late", lifetime=timedelta(hours=-1)), signed(authority(), "alice")]
    assert [_trusted(mutual, mutual.root, client) for client in strangers] == [[False, False]] * 2
    assert _trusted(mutual, mutual.root) == [False, True]  # over HTTP only what is open
    answers: list[list[str]] = []
    for client in (signed(mutual.root, "dora"), signed(mutual.root, "dora", uri="spiffe://example/root")):
        assert _trusted(mutual, mutual.root, client) == [True, True]
        credentials = grpc.ssl_channel_credentials(mutual.root.chain, client.secret, client.chain)
        with grpc.secure_channel(mutual.listening.grpc, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            methods, audits = ExplanationServiceStub(channel).ListMethods, AuditServiceStub(channel).ListAudits
            empty: list[tuple[Callable[..., Any], Any]] = [
                (methods, explanation_service_pb2.ListMethodsRequest()), (audits, audit_service_pb2.ListAuditsRequest())
            ]  # fmt: skip
            answers.append([outcome(call, request)[0] for call, request in empty])
            answers.append([outcome(call, request, bearer(TOKENS["reader"]))[0] for call, request in empty])
    assert answers == [["OK", "PERMISSION_DENIED"], ["OK", "OK"], ["OK", "OK"], ["OK", "OK"]]
    assert {line["principal"] for line in mutual.audit_lines()} == {"cert:CN=dora", "root", "reader"}


def test_a_key_set_behind_an_address_is_fetched_rarely(tmp_path: Path) -> None:
    """Once for many tokens, however many unknown keys they name; when it cannot be fetched, the keys that are known stay good."""
    fetched: list[str] = []
    document = key_set(tmp_path / "keys.json", "rsa").read_bytes()

    class KeyServer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    async def ask(tokens: WebTokens) -> list[str]:
        names = [(await tokens.principal(web_token())).name]
        for number in range(5):
            with pytest.raises(Unauthenticated):
                await tokens.principal(web_token(kid=f"unknown-{number}"))
        return [*names, (await tokens.principal(web_token())).name]

    with HTTPServer(("127.0.0.1", 0), KeyServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/keys"
        tokens = WebTokens(Config(jwt_keys_url=url, jwt_issuer=ISSUER, jwt_audience=AUDIENCE))
        assert asyncio.run(ask(tokens)) == ["jwt:carol", "jwt:carol"]
        server.shutdown()
    assert fetched == ["/keys"]
    tokens._keys._fetched = tokens._keys._tried = float("-inf")  # as after five minutes
    assert asyncio.run(tokens.principal(web_token())).name == "jwt:carol"
