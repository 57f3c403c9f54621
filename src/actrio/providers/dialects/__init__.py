"""Wire formats of providers: a call to bytes, an answer to deltas. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.providers.dialects._anthropic import AnthropicMessages as AnthropicMessages
    from actrio.providers.dialects._dialect import AnswerReader as AnswerReader
    from actrio.providers.dialects._dialect import Dialect as Dialect
    from actrio.providers.dialects._dialect import WireRequest as WireRequest
    from actrio.providers.dialects._gemini import Gemini as Gemini
    from actrio.providers.dialects._ollama import OllamaChat as OllamaChat
    from actrio.providers.dialects._openai_chat import OpenAiChat as OpenAiChat
    from actrio.providers.dialects._openai_chat_deviations import Deviations as Deviations
    from actrio.providers.dialects._openai_chat_errors import request_id_of as request_id_of
    from actrio.providers.dialects._openai_responses import OpenAiResponses as OpenAiResponses
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_anthropic": "AnthropicMessages",
            "_dialect": "AnswerReader Dialect WireRequest",
            "_gemini": "Gemini",
            "_ollama": "OllamaChat",
            "_openai_chat": "OpenAiChat",
            "_openai_chat_deviations": "Deviations",
            "_openai_chat_errors": "request_id_of",
            "_openai_responses": "OpenAiResponses",
        },
    )
