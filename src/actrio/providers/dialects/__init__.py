"""Wire formats of providers: a call to bytes, an answer to deltas. Pure: no I/O, no clock."""

from actrio.providers.dialects._openai_chat import OpenAiChat as OpenAiChat
from actrio.providers.dialects._openai_chat import OpenAiChatDecoder as OpenAiChatDecoder
from actrio.providers.dialects._openai_chat_encode import MaxTokensField as MaxTokensField
from actrio.providers.dialects._openai_chat_errors import request_id_of as request_id_of
