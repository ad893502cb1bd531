"""The hub of translation: OpenAI's chat dialect, and the few fields with which it can carry what others say.

A caller's dialect is translated *inwards* to the hub, the hub *outwards* to a target's dialect; the answer comes back
the same way. A hub document is an OpenAI chat completion request, answer or chunk
(https://platform.openai.com/docs/api-reference/chat). What OpenAI cannot say stands in these further fields, all
optional, and named as others who extend that dialect name them:

request
    top_k                   int
    thinking                Anthropic's object; beside `reasoning_effort` it wins for targets that know it
    cache_control           {"type": "ephemeral", "ttl"?} on a content part, a message or a tool: cache up to here
message
    reasoning_content       str, the model's thoughts as text (DeepSeek, vLLM)
    thinking_blocks         list of {"type": "thinking", "thinking", "signature"} and {"type": "redacted_thinking",
                            "data"} (LiteLLM): the thoughts with their signatures, byte for byte; wins over
                            reasoning_content where both stand
    citations               list of Anthropic's citation objects, each with start_index and end_index into `content`
    tool_calls[].extra_content.google.thought_signature   (Google's OpenAI endpoint) str
    extra_content.google.thought_signature                str, of the text part of the message
    images                  list of image_url parts, what the model drew (OpenRouter)
    is_error                on a message of role `tool`: the tool failed
content part
    image_url, input_audio, file, refusal   as OpenAI has them; a data URL where there is data
    video_url               {"url"} (OpenRouter, vLLM)
    file.file_url           str, a document by address
    file.title, file.context, file.citations   Anthropic's document fields
choice
    native_finish_reason    str, the target's own word (OpenRouter), so that a caller of that dialect hears it again
    stop_sequence           str, the sequence at which the model stopped
usage
    prompt_tokens_details.cached_tokens, .cache_write_tokens, completion_tokens_details.reasoning_tokens
                            all of them included in prompt_tokens and completion_tokens
chunk
    delta.reasoning_content, delta.thinking_blocks, delta.citations, delta.images, delta.tool_calls[].extra_content;
    a block of thinking_blocks with an empty `thinking` and a `signature` ends the block that is being said

Translations are pure: they see values, and no clock, no network and no configuration. They never look into base64:
for a large payload a short stand-in is in its place (payload.py).

What cannot be carried: a *parameter* is left out and its path told to `Losses`; *content* is never left out, it is a
`CannotSay`, because an answer to half of a question is worse than a refusal.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct

Json = dict[str, Any]
"""A parsed JSON object."""
SEALED: Final = "openai-responses:"
"""So begins the signature of thoughts that are one of OpenAI's own reasoning items: nobody else takes them back."""


class CannotSay(Exception):
    """The request cannot be translated: `param` is the path of the field in the hub's request, the message says why."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


class Losses:
    """The paths of what a translation could not carry, such as `top_k` or `messages.content.cache_control`."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: dict[str, None] = {}

    def drop(self, path: str) -> None:
        """Note a loss. Paths have no indices: ten lost cache marks are one loss."""
        self._paths[path] = None

    @property
    def paths(self) -> tuple[str, ...]:
        """Every loss once, in the order of discovery."""
        return tuple(self._paths)


class Moment(Struct, frozen=True, kw_only=True):
    """What a translation may need that is in no document: a fresh id (hex digits), Unix seconds, the model."""

    id: str
    created: int
    model: str


class HubStream(Protocol):
    """A target's events → hub chunks. One instance reads one stream."""

    finished: bool
    """Whether the event that properly ends a stream of this dialect has been seen."""

    def feed(self, event: str, data: Json) -> Sequence[Json]:
        """Return the chunks that this event means, at once: nothing is kept back. Error events are never fed."""

    def end(self) -> Sequence[Json]:
        """Return what is still to be said (usage, say) after the last event. Called once, only after a proper end."""


class CallerStream(Protocol):
    """Hub chunks → events of a caller's dialect: pairs of event name (empty where the dialect has none) and data."""

    def feed(self, chunk: Json) -> Sequence[tuple[str, Json]]:
        """Return the events that this chunk means, at once."""

    def end(self) -> Sequence[tuple[str, Json]]:
        """Return the closing events. Called once, only after a proper end."""


class Outward(Struct, frozen=True, kw_only=True):
    """From the hub to a target's dialect and back.

    `request(hub, losses)` → the target's body, without what stands in its address (raises CannotSay).
    `answer(said, asked, moment)` → the hub's answer; `asked` is the hub's request.
    `stream(asked, moment)` → a reader of one stream.
    """

    request: Callable[[Json, Losses], Json]
    answer: Callable[[Json, Json, Moment], Json]
    stream: Callable[[Json, Moment], HubStream]


class Inward(Struct, frozen=True, kw_only=True):
    """From a caller's dialect to the hub and back.

    `request(said, losses)` → the hub's request (raises CannotSay); model and stream are set by whoever calls.
    `answer(hub, asked, moment)` → the caller's answer; `asked` is what the caller said.
    `stream(asked, moment)` → a writer of one stream.
    """

    request: Callable[[Json, Losses], Json]
    answer: Callable[[Json, Json, Moment], Json]
    stream: Callable[[Json, Moment], CallerStream]
