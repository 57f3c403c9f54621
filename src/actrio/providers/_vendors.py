"""The vendors that are known without settings: where they are, whose key, what they can. Data.

The wire formats' deviations stand here beside the vendor that has them. The sources are the
vendors' own clients and pages and recorded traffic; what only an issue tells is told in
docs/reference/deviations.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

from actrio.errors import ErrorCategory
from actrio.providers._settings import DialectName, ProviderSettings
from actrio.providers.dialects import Deviations

__all__ = ["CAPABILITIES", "CATALOG", "Capability", "Variable", "Vendor"]

Capability = Literal[
    "chat",
    "stream",
    "tools",
    "images",
    "documents",
    "reasoning",
    "structured",
    "embeddings",
    "cache",
]

CAPABILITIES: Final[Mapping[Capability, str]] = {
    "chat": "answers whole",
    "stream": "answers as they are made",
    "tools": "calls tools",
    "images": "some models read images",
    "documents": "some models read files",
    "reasoning": "shows reasoning or takes an effort for it",
    "structured": "answers in a given shape",
    "embeddings": "texts as vectors",
    "cache": "caches a prompt's beginning, by itself or when asked",
}

_CHAT: Final[tuple[Capability, ...]] = ("chat", "stream", "tools", "reasoning", "structured")


@attrs.frozen(slots=True)
class Variable:
    """An environment variable that holds a base_url.

    Attributes:
        adds: A path that belongs to the base_url and is not part of the variable's value.
        port: Its value may be a bare host, as a server takes it; this is the port then.
    """

    name: str
    adds: str = ""
    port: int | None = None


@attrs.frozen(slots=True, kw_only=True)
class Vendor:
    """What is known about a vendor without any settings.

    Attributes:
        base_url: Where it is, without what `dialects` adds.
        key_env: Variables that hold its key; the first that is set counts.
        base_url_env: Variables that hold another base_url, likewise.
        header_env: Request headers whose value is in a variable, where that is set.
        key_needed: Whether nothing works without a key.
        key_regions: The region that a key belongs to, by the variable that it came from.
        bearer_env: Variables whose value is a bearer token where the vendor's keys are not.
        regions: Its other places, by name.
        dialects: The wire formats it speaks, with the path that each adds; the first is default.
        deviations: Of its chat completions.
        can: What it can do.
        defaults: Settings that suit it better than the general defaults.
    """

    base_url: str
    key_env: tuple[str, ...]
    base_url_env: tuple[Variable, ...] = ()
    header_env: Mapping[str, str] = attrs.field(factory=dict)
    key_needed: bool = True
    key_regions: Mapping[str, str] = attrs.field(factory=dict)
    bearer_env: tuple[str, ...] = ()
    regions: Mapping[str, str] = attrs.field(factory=dict)
    dialects: Mapping[DialectName, str]
    deviations: Deviations = Deviations()
    can: tuple[Capability, ...]
    defaults: ProviderSettings = ProviderSettings()


_GLM_CODES: Final[Mapping[str, ErrorCategory]] = {
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004", "1005"), "auth"),
    **dict.fromkeys(("1110", "1111", "1112", "1120", "1121", "1220"), "auth"),
    **dict.fromkeys(("1113", "1304", "1308", "1309", "1310", "1311", "1313"), "quota"),
    **dict.fromkeys(("1210", "1212", "1213", "1214", "1215"), "invalid_request"),
    **dict.fromkeys(("1211", "1221", "1222"), "not_found"),
    **dict.fromkeys(("1230", "1234"), "server"),
    "1261": "context_length",
    **dict.fromkeys(("1300", "1301"), "content_filter"),
    **dict.fromkeys(("1302", "1303"), "rate_limit"),
    **dict.fromkeys(("1305", "1312"), "overloaded"),
}
"""A code means the same at every status; 429 alone would be three different things."""

_SILICONFLOW_CODES: Final[Mapping[str, ErrorCategory]] = {
    "20012": "not_found",
    "30001": "quota",
    "30011": "quota",
    "50505": "overloaded",
}

_FEW_AT_ONCE: Final = ProviderSettings(max_connections=10)
"""For vendors that limit concurrency, tell no rate in their headers, and refuse early."""


CATALOG: Final[Mapping[str, Vendor]] = {
    "openai": Vendor(
        base_url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        base_url_env=(Variable("OPENAI_BASE_URL"),),
        header_env={
            "openai-organization": "OPENAI_ORG_ID",
            "openai-project": "OPENAI_PROJECT_ID",
        },
        regions={"us": "https://us.api.openai.com/v1", "eu": "https://eu.api.openai.com/v1"},
        dialects={"openai": "", "responses": ""},
        deviations=Deviations(
            max_tokens_field="max_completion_tokens",
            embed_batch_max=2048,
            embed_encoding="base64",
        ),
        can=(*_CHAT, "images", "documents", "embeddings", "cache"),
    ),
    "anthropic": Vendor(
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        bearer_env=("ANTHROPIC_AUTH_TOKEN",),
        base_url_env=(Variable("ANTHROPIC_BASE_URL"),),
        dialects={"anthropic": "", "openai": "/v1"},
        deviations=Deviations(documents=False, embed_batch_max=0),
        can=(*_CHAT, "images", "documents", "cache"),
    ),
    "gemini": Vendor(
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_env=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        base_url_env=(Variable("GOOGLE_GEMINI_BASE_URL", "/v1beta"), Variable("GEMINI_ENDPOINT")),
        dialects={"gemini": "", "openai": "/openai"},
        deviations=Deviations(documents=False, thought_signatures=True, embed_batch_max=100),
        can=(*_CHAT, "images", "documents", "embeddings", "cache"),
    ),
    "groq": Vendor(
        base_url="https://api.groq.com/openai/v1",
        key_env=("GROQ_API_KEY",),
        base_url_env=(Variable("GROQ_BASE_URL", "/openai/v1"), Variable("GROQ_ENDPOINT")),
        dialects={"openai": ""},
        deviations=Deviations(
            max_tokens_field="max_completion_tokens", documents=False, embed_batch_max=0
        ),
        can=(*_CHAT, "images", "cache"),
    ),
    "openrouter": Vendor(
        base_url="https://openrouter.ai/api/v1",
        key_env=("OPENROUTER_API_KEY",),
        base_url_env=(Variable("OPENROUTER_BASE_URL"), Variable("OPENROUTER_ENDPOINT")),
        dialects={"openai": "", "responses": ""},
        deviations=Deviations(
            reasoning="reasoning",
            reasoning_back="reasoning_details",
            document_links=True,
            cache_control=("anthropic/", "google/"),
        ),
        can=(*_CHAT, "images", "documents", "embeddings", "cache"),
    ),
    "ollama": Vendor(
        base_url="http://localhost:11434",
        key_env=("OLLAMA_API_KEY",),
        key_needed=False,
        base_url_env=(Variable("OLLAMA_HOST", port=11434), Variable("OLLAMA_ENDPOINT")),
        regions={"cloud": "https://ollama.com"},
        dialects={"ollama": "", "openai": "/v1"},
        deviations=Deviations(documents=False, reasoning_back="reasoning"),
        can=(*_CHAT, "images", "embeddings"),
        # A small machine reads a long prompt for minutes, and does a few calls at a time.
        defaults=ProviderSettings(max_connections=16, idle_seconds=900.0),
    ),
    "cerebras": Vendor(
        base_url="https://api.cerebras.ai/v1",
        key_env=("CEREBRAS_API_KEY",),
        base_url_env=(Variable("CEREBRAS_BASE_URL", "/v1"), Variable("CEREBRAS_ENDPOINT")),
        dialects={"openai": ""},
        deviations=Deviations(
            max_tokens_field="max_completion_tokens",
            reasoning_back="reasoning",
            documents=False,
            embed_batch_max=0,
        ),
        can=(*_CHAT, "cache"),
    ),
    "glm4": Vendor(
        base_url="https://open.bigmodel.cn/api/paas/v4",
        key_env=("ZHIPUAI_API_KEY", "ZAI_API_KEY", "GLM4_API_KEY"),
        key_regions={"ZAI_API_KEY": "intl"},
        base_url_env=(
            Variable("ZHIPUAI_BASE_URL"),
            Variable("ZAI_BASE_URL"),
            Variable("GLM4_ENDPOINT"),
        ),
        regions={
            "cn": "https://open.bigmodel.cn/api/paas/v4",
            "intl": "https://api.z.ai/api/paas/v4",
            "coding": "https://api.z.ai/api/coding/paas/v4",
        },
        dialects={"openai": ""},
        deviations=Deviations(
            structured="json_object",
            reasoning="thinking",
            effort_models=("glm-4.7", "glm-5"),
            reasoning_back="reasoning_content",
            documents=False,
            business_codes=_GLM_CODES,
            embed_batch_max=64,
            embed_encoding=None,
        ),
        can=(*_CHAT, "images", "embeddings", "cache"),
        defaults=_FEW_AT_ONCE,
    ),
    "siliconflow": Vendor(
        base_url="https://api.siliconflow.cn/v1",
        key_env=("SILICONFLOW_API_KEY",),
        base_url_env=(Variable("SILICONFLOW_BASE_URL"), Variable("SILICONFLOW_ENDPOINT")),
        regions={
            "cn": "https://api.siliconflow.cn/v1",
            "intl": "https://api.siliconflow.com/v1",
        },
        dialects={"openai": ""},
        deviations=Deviations(
            reasoning="enable_thinking",
            documents=False,
            business_codes=_SILICONFLOW_CODES,
            embed_batch_max=32,
        ),
        can=(*_CHAT, "images", "embeddings", "cache"),
    ),
    "modelscope": Vendor(
        base_url="https://api-inference.modelscope.cn/v1",
        key_env=("MODELSCOPE_API_KEY", "MODELSCOPE_SDK_TOKEN", "MODELSCOPE_ACCESS_TOKEN"),
        base_url_env=(Variable("MODELSCOPE_BASE_URL"), Variable("MODELSCOPE_ENDPOINT")),
        dialects={"openai": ""},
        deviations=Deviations(reasoning="enable_thinking", documents=False, embed_batch_max=25),
        can=(*_CHAT, "images", "embeddings"),
        defaults=_FEW_AT_ONCE,
    ),
}
