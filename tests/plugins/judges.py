"""The services behind the guards: they refuse what has `ATTACK` in it, and mask the number of a telephone."""

import hmac
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from msgspec import Struct

from tests.service import Question, Reply
from trustgate import HttpAnswer, ServiceUnavailable
from trustgate_plugins import azure_content_safety, bedrock_guardrail, openai_moderation, trustguard, webhook_guard

KEY = "the-key-of-the-guard"
SIGNED = b64encode(b"a secret of thirty-two bytes, yes").decode()
NUMBER, MASK = "555-1234", "{PHONE}"
BAD = "ATTACK"


class Guard(Struct, frozen=True, kw_only=True):
    """One guard: its settings for a service at an address, and how that service answers."""

    plugin: ModuleType
    settings: Callable[[str], dict[str, Any]]
    answer: Callable[[Question], Reply]
    code: str
    secrets: tuple[str, ...]
    masks: bool = False
    variables: Callable[[str], Mapping[str, str]] = lambda _: {}


def moderation(question: Question) -> Reply:
    if question.headers.get("authorization") != f"Bearer {KEY}":
        return Reply({"error": {"message": "Incorrect API key"}}, status=401)
    asked = question.json
    assert (question.path, asked["model"]) == ("/v1/moderations", "omni-moderation-latest")
    bad = [BAD in text for text in asked["input"]]
    results = [
        {
            "flagged": each,
            "categories": {"violence": each, "hate": False},
            "category_scores": {"violence": 0.9 if each else 0.01, "hate": 0.02},
        }
        for each in bad
    ]
    return Reply({"id": "modr-1", "model": asked["model"], "results": results})


def content_safety(question: Question) -> Reply:
    if question.headers.get("ocp-apim-subscription-key") != KEY:
        return Reply({"error": {"code": "401"}}, status=401)
    asked = question.json
    assert question.path == "/contentsafety/text:analyze?api-version=2024-09-01"
    assert len(asked["text"]) <= 10_000
    severity = 4 if BAD in asked["text"] else 0
    analysis = [{"category": name, "severity": severity} for name in asked["categories"]]
    return Reply({"blocklistsMatch": [], "categoriesAnalysis": analysis})


def guardrail(question: Question) -> Reply:
    assert question.path == "/guardrail/gr-1/version/3/apply"
    if not question.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"):
        return Reply({"message": "not signed"}, status=403)
    texts = [each["text"]["text"] for each in question.json["content"]]
    if any(BAD in text for text in texts):
        topics = {"topicPolicy": {"topics": [{"name": "Attacks", "type": "DENY", "action": "BLOCKED"}]}}
        refused = [{"text": "The guardrail says no."}]
        return Reply({"action": "GUARDRAIL_INTERVENED", "outputs": refused, "assessments": [topics]})
    if any(NUMBER in text for text in texts):
        found = {"match": NUMBER, "type": "PHONE", "action": "ANONYMIZED"}
        masked = [{"text": text.replace(NUMBER, MASK)} for text in texts]
        assessments = [{"sensitiveInformationPolicy": {"piiEntities": [found], "regexes": []}}]
        return Reply({"action": "GUARDRAIL_INTERVENED", "outputs": masked, "assessments": assessments})
    return Reply({"action": "NONE", "outputs": [], "assessments": [], "usage": {}})


def evaluation(question: Question) -> Reply:
    asked = question.json
    if question.path == "/v1/token":
        good = (asked["client_id"], asked["client_secret"], asked["scope"]) == ("client", KEY, "platform")
        token = {"access_token": "token-of-the-guard", "expires_in": 3600}
        return Reply(token) if good else Reply({}, status=401)
    if question.headers.get("authorization") != "Bearer token-of-the-guard":
        return Reply({}, status=401)
    messages = asked["payload"]["messages"]
    texts = [message["content"] for message in messages]
    finding = {"source": {"detector_name": "attacks"}, "signal": {"confidence": 0.8}, "evidence": " ".join(texts)}
    if any(BAD in text for text in texts):
        return Reply({"status": "block", "findings": [finding], "trace_id": "t-1"})
    if any(NUMBER in text for text in texts):
        payload = {"messages": [each | {"content": each["content"].replace(NUMBER, MASK)} for each in messages]}
        return Reply({"status": "transform", "transformed_payload": payload, "findings": [finding]})
    return Reply({"status": "allow", "findings": []})


def webhook(question: Question) -> Reply:
    told = question.headers
    signed = f"{told['webhook-id']}.{told['webhook-timestamp']}.".encode() + question.body
    proof = b64encode(hmac.digest(b64decode(SIGNED), signed, "sha256")).decode()
    if told["webhook-signature"] != f"v1,{proof}" or told["x-key"] != KEY:
        return Reply({}, status=401)
    texts = [each["text"] for each in question.json["texts"]]
    if any(BAD in text for text in texts):
        return Reply({"action": "deny", "code": "attack_found", "message": "No attacks here.", "labels": ["attack"]})
    if any(NUMBER in text for text in texts):
        return Reply({"action": "rewrite", "texts": [re.sub(NUMBER, MASK, text) for text in texts]})
    return Reply({"action": "allow", "something": "else"})


AWS = {"aws_region": "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": KEY}
COLLECTOR = "0b8f8a8e-5d0c-4a53-9c5e-0f6ad2f0c001"

GUARDS: dict[str, Guard] = {
    "openai_moderation": Guard(
        plugin=openai_moderation,
        settings=lambda _: {"api_key": KEY},
        answer=moderation,
        code="content_flagged",
        secrets=(KEY,),
        variables=lambda url: {"OPENAI_MODERATION_BASE_URL": url},
    ),
    "azure_content_safety": Guard(
        plugin=azure_content_safety,
        settings=lambda url: {"api_key": KEY, "endpoint": url, "category_severity": {"Violence": 4, "Hate": 6}},
        answer=content_safety,
        code="content_flagged",
        secrets=(KEY,),
    ),
    "bedrock_guardrail": Guard(
        plugin=bedrock_guardrail,
        settings=lambda url: {
            "guardrail_id": "gr-1",
            "version": "3",
            "pii_action": "anonymize",
            "credentials": AWS,
            "endpoint": url,
        },
        answer=guardrail,
        code="guardrail_blocked",
        secrets=(KEY,),
        masks=True,
    ),
    "trustguard": Guard(
        plugin=trustguard,
        settings=lambda _: {"collector_id": COLLECTOR},
        answer=evaluation,
        code="trustguard_blocked",
        secrets=(KEY, "token-of-the-guard"),
        masks=True,
        variables=lambda url: {
            "TRUSTGUARD_BASE_URL": url,
            "TRUSTGUARD_CLIENT_ID": "client",
            "TRUSTGUARD_CLIENT_SECRET": KEY,
        },
    ),
    "webhook_guard": Guard(
        plugin=webhook_guard,
        settings=lambda url: {"url": url, "secret": f"whsec_{SIGNED}", "headers": {"X-Key": KEY}},
        answer=webhook,
        code="attack_found",
        secrets=(KEY, SIGNED),
        masks=True,
    ),
}


class Near:
    """The services without a socket, for runs that are many: what is asked is answered on the spot."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def send(self, method: str, url: str, **told: Any) -> HttpAnswer:
        headers = {name.decode(): value.decode() for name, value in told["headers"]}
        if told.get("signing"):
            headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={told['signing'].access_key_id}/"
        if not url.startswith("http://guard.test"):
            raise ServiceUnavailable("nobody listens there")
        path = url.removeprefix("http://guard.test") or "/"
        reply = self._guard.answer(Question(method, path, headers, told.get("body", b"")))
        return HttpAnswer(status=reply.status, headers=(), body=json.dumps(reply.body).encode())


def near(name: str) -> dict[str, Any]:
    """Return the services of a process whose guard is near."""
    return {"http": Near(GUARDS[name]), "variables": GUARDS[name].variables("http://guard.test")}
