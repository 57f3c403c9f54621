"""Wire formats of providers: a call to bytes, an answer to deltas. Pure: no I/O, no clock."""

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
