"""The cache in the real program: strict clients hear again what was answered, in whatever form they ask for."""

from openai import OpenAI

from .place import Place
from .upstream import Exchange, Script, Upstream, answer

VECTORS = (
    b'{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.6,0.8]}],'
    b'"usage":{"prompt_tokens":3,"total_tokens":3}}'
)
WHOLE = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"It is Paris."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,'
    b'"completion_tokens":2,"total_tokens":11}}'
)


def says(text: bytes) -> Script:
    """A provider of both: the same vector for every text, and this answer."""

    async def script(exchange: Exchange) -> None:
        vectors = exchange.target.endswith(b"/embeddings")
        await answer(200, VECTORS if vectors else WHOLE.replace(b"Paris", text))(exchange)

    return script


def test_an_sdk_hears_again_what_was_answered(place: Place, upstream: Upstream) -> None:
    """Vectors are made by the registry `openai`, which is the same upstream: it is asked for vectors and once more."""
    policy = place.admin.done(
        "POST",
        place.gateway.path("/policies"),
        {
            "name": "again",
            "slug": "semantic_cache",
            "settings": {"embedding": {"registry": "openai", "model": "e", "timeout": "5s"}},
        },
    )
    attached = place.gateway.path(f"/consumers/{place.consumers['my-app']}/policies/{policy['id']}")
    place.admin.done("POST", attached)
    try:
        client = OpenAI(
            base_url=f"http://127.0.0.1:{place.port}/my-app/v1",
            api_key=place.key.text,
            default_headers={"X-AG-Gateway-Slug": place.gateway.slug},
            max_retries=0,
        )

        def ask(text: str) -> tuple[str, str]:
            raw = client.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=[{"role": "user", "content": text}]
            )
            return raw.headers["x-cache"], raw.parse().choices[0].message.content or ""

        def listen(text: str) -> tuple[str, str]:
            raw = client.chat.completions.with_raw_response.create(
                model="gpt-4o", messages=[{"role": "user", "content": text}], stream=True
            )
            return raw.headers["x-cache"], "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse())

        upstream.play(says(b"Paris"))
        assert ask("what is the capital of France") == ("MISS", "It is Paris.")
        asked = len(upstream.seen)
        assert listen("what is the capital of France") == ("HIT", "It is Paris.")
        assert len(upstream.seen) == asked, "the same words need no vector"
        upstream.play(says(b"Rome"))
        assert listen("tell me the capital of France") == ("HIT", "It is Paris.")
        upstream.play(says(b"Madrid"))
        assert ask("tell me the capital of Spain") == ("MISS", "It is Madrid.")
    finally:
        place.admin.done("DELETE", attached)
