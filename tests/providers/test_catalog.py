from __future__ import annotations

import pytest

from actrio.errors import ConfigError, NotConfigured, NotFound
from actrio.providers import ProviderSettings, ProviderStatus
from actrio.providers._catalog import CATALOG, resolve, status_of
from actrio.providers.dialects import (
    AnthropicMessages,
    Deviations,
    Gemini,
    OllamaChat,
    OpenAiChat,
    OpenAiResponses,
)


def test_openai_needs_only_its_key() -> None:
    """The catalog knows where it is and how it calls things."""
    access = resolve("openai", {}, {"OPENAI_API_KEY": " sk-1 \n"})
    assert access.endpoint.base_url == "https://api.openai.com/v1"
    assert access.endpoint.api_key == "sk-1"
    assert access.dialect.deviations.max_tokens_field == "max_completion_tokens"
    assert not access.loopback


def test_a_key_is_in_no_repr() -> None:
    """Whoever logs an access logs no secret."""
    assert "sk-123456" not in repr(resolve("openai", {}, {"OPENAI_API_KEY": "sk-123456"}))
    assert "secret-value" not in repr(ProviderSettings(headers={"X-Team": "secret-value"}))


@pytest.mark.parametrize(
    ("settings", "env", "base_url"),
    [
        ({}, {"OPENAI_BASE_URL": "http://proxy.example/v1/"}, "http://proxy.example/v1"),
        (
            {"openai": ProviderSettings(base_url="https://mine.example/v1")},
            {"OPENAI_BASE_URL": "http://proxy.example/v1"},
            "https://mine.example/v1",
        ),
    ],
)
def test_where_openai_is(settings, env, base_url) -> None:
    """The settings come first, then the vendor's own variable."""
    access = resolve("openai", settings, {"OPENAI_API_KEY": "k", **env})
    assert access.endpoint.base_url == base_url


def test_a_compatible_endpoint_comes_from_the_settings() -> None:
    """Any name with a base_url is a provider; its key is in a variable of its own name."""
    settings = {"my-groq": ProviderSettings(base_url="https://api.groq.com/openai/v1")}
    access = resolve("my-groq", settings, {"MY_GROQ_API_KEY": "k"})
    assert access.endpoint.api_key == "k"
    assert access.dialect.provider == "my-groq"
    assert access.dialect.deviations == Deviations()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:8080", "box.localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    """A server on this machine may have none, and is given one only where one is set."""
    settings = {"here": ProviderSettings(base_url=f"http://{host}/v1")}
    assert resolve("here", settings, {}).endpoint.api_key is None
    assert resolve("here", settings, {}).loopback
    assert resolve("here", settings, {"HERE_API_KEY": "k"}).endpoint.api_key == "k"


@pytest.mark.parametrize(
    ("name", "settings", "kind", "words"),
    [
        ("nope", {}, NotFound, "local, modelscope, ollama, openai, openrouter, scripted"),
        ("nope", {}, NotFound, r"\[providers\.nope\] base_url"),
        ("no]pe", {}, NotFound, r"\[providers\.NAME\]"),
        ("openai", {}, NotConfigured, "OPENAI_API_KEY"),
        ("mine", {"mine": ProviderSettings()}, NotConfigured, "base_url"),
        (
            "mine",
            {"mine": ProviderSettings(base_url="https://h/v1", api_key_env="MY_KEY")},
            NotConfigured,
            "Set MY_KEY",
        ),
        (
            "mine",
            {"mine": ProviderSettings(base_url="http://127.0.0.1/v1", api_key_env="MY_KEY")},
            NotConfigured,
            "Set MY_KEY",
        ),
        ("openai", {"openai": ProviderSettings(enabled=False)}, NotConfigured, "disabled"),
        ("gemini", {}, NotConfigured, r"GOOGLE_API_KEY \(or GEMINI_API_KEY\)"),
        ("groq", {"groq": ProviderSettings(dialect="gemini")}, ConfigError, "one of openai"),
        ("x", {"x": ProviderSettings(vendor="y")}, ConfigError, "vendor.*one of openai"),
        ("openai", {"openai": ProviderSettings(region="mars")}, ConfigError, "has us, eu"),
        ("groq", {"groq": ProviderSettings(region="us")}, ConfigError, "has none"),
        (
            "x",
            {"x": ProviderSettings(base_url="https://{region}.example/v1")},
            NotConfigured,
            'region = "…"',
        ),
        (
            "gemini",
            {"gemini": ProviderSettings(api_version="1")},
            ConfigError,
            "dialect is 'gemini'",
        ),
    ],
)
def test_what_is_missing_is_named(name, settings, kind, words) -> None:
    """Each refusal says what is missing and where it goes."""
    with pytest.raises(kind, match=words):
        resolve(name, settings, {})


@pytest.mark.parametrize(
    "base_url",
    [
        "api.openai.com/v1",
        "ftp://host/v1",
        "https:///v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://[::1/v1",
        "http://user:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host/v1#x",
        "http://ho st/v1",
        "http://host\n/v1",
        f"http://{'a' * 64}.example/v1",
        "",
    ],
)
def test_a_wrong_base_url_is_told_without_quoting_it(base_url: str) -> None:
    """A base_url may hold a secret by mistake, so the text names only its key."""
    settings = {"mine": ProviderSettings(base_url=base_url)}
    with pytest.raises((ConfigError, NotConfigured), match="base_url") as caught:
        resolve("mine", settings, {"MINE_API_KEY": "k"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk 1", "sk\n1", "sk-é", "sk\x001"])
def test_a_key_that_cannot_be_a_header_is_told_without_quoting_it(key: str) -> None:
    """A key with a newline would break the request apart."""
    with pytest.raises(NotConfigured, match="OPENAI_API_KEY cannot be") as caught:
        resolve("openai", {}, {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_connections": 0},
        {"max_connections": 1.5},
        {"max_connections": True},
        {"connect_seconds": 0},
        {"idle_seconds": float("nan")},
        {"idle_seconds": float("inf")},
        {"http": "aiohttp"},
        {"dialect": "x"},
        {"region": "a/b"},
        {"api_version": "?x"},
        {"headers": {"X Y": "a"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"Authorization": "Bearer x"}},
        {"headers": {"X-API-Key": "x"}},
    ],
)
def test_wrong_settings_are_refused(fields) -> None:
    """Each field says what it takes."""
    with pytest.raises(ConfigError, match=next(iter(fields))):
        ProviderSettings(**fields)


def test_the_status_of_each_state() -> None:
    """A provider is available, not configured with the variable named, or disabled."""
    off = {"openai": ProviderSettings(enabled=False)}
    can = CATALOG["openai"].can
    assert status_of("openai", {}, {"OPENAI_API_KEY": "k"}) == (
        ProviderStatus("openai", "available", can=can)
    )
    missing = status_of("openai", {}, {})
    assert (missing.state, missing.missing_env) == ("not-configured", "OPENAI_API_KEY")
    assert missing.remedy
    assert status_of("openai", off, {}).state == "disabled"
    assert status_of("scripted", {}, {}).state == "available"


# -- the ten vendors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variable", "base_url", "dialect"),
    [
        ("openai", "OPENAI_API_KEY", "https://api.openai.com/v1", OpenAiChat),
        ("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com", AnthropicMessages),
        (
            "gemini",
            "GEMINI_API_KEY",
            "https://generativelanguage.googleapis.com/v1beta",
            Gemini,
        ),
        ("groq", "GROQ_API_KEY", "https://api.groq.com/openai/v1", OpenAiChat),
        ("openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", OpenAiChat),
        ("ollama", "OLLAMA_API_KEY", "http://localhost:11434", OllamaChat),
        ("cerebras", "CEREBRAS_API_KEY", "https://api.cerebras.ai/v1", OpenAiChat),
        ("glm4", "GLM4_API_KEY", "https://open.bigmodel.cn/api/paas/v4", OpenAiChat),
        ("glm4", "ZHIPUAI_API_KEY", "https://open.bigmodel.cn/api/paas/v4", OpenAiChat),
        ("glm4", "ZAI_API_KEY", "https://api.z.ai/api/paas/v4", OpenAiChat),
        ("siliconflow", "SILICONFLOW_API_KEY", "https://api.siliconflow.cn/v1", OpenAiChat),
        (
            "modelscope",
            "MODELSCOPE_SDK_TOKEN",
            "https://api-inference.modelscope.cn/v1",
            OpenAiChat,
        ),
    ],
)
def test_each_vendor_needs_only_its_key(name, variable, base_url, dialect) -> None:
    """Every variable that the vendor's own clients read is read."""
    access = resolve(name, {}, {variable: "k-123"})
    assert (access.endpoint.base_url, access.endpoint.api_key) == (base_url, "k-123")
    assert isinstance(access.dialect, dialect)


def test_the_first_variable_wins() -> None:
    """As in the vendor's own client."""
    env = {"GOOGLE_API_KEY": "first", "GEMINI_API_KEY": "second"}
    assert resolve("gemini", {}, env).endpoint.api_key == "first"


@pytest.mark.parametrize(
    ("name", "variable", "told", "base_url"),
    [
        ("groq", "GROQ_BASE_URL", "https://proxy.example", "https://proxy.example/openai/v1"),
        ("groq", "GROQ_ENDPOINT", "https://proxy.example/x", "https://proxy.example/x"),
        ("cerebras", "CEREBRAS_BASE_URL", "https://p.example/v1/", "https://p.example/v1"),
        ("ollama", "OLLAMA_HOST", "0.0.0.0", "http://127.0.0.1:11434"),
        ("ollama", "OLLAMA_HOST", "box:8080", "http://box:8080"),
        ("ollama", "OLLAMA_HOST", ":8080", "http://127.0.0.1:8080"),
        ("ollama", "OLLAMA_HOST", "https://box.example", "https://box.example"),
    ],
)
def test_the_vendors_own_variables_say_where(name, variable, told, base_url) -> None:
    """Some clients take a host and add the path themselves."""
    env = {variable: told, CATALOG[name].key_env[0]: "k"}
    assert resolve(name, {}, env).endpoint.base_url == base_url


def test_a_region_is_another_place_of_the_vendor() -> None:
    """It wins over the vendor's variable, and fills a base_url that has a place for it."""
    env = {"SILICONFLOW_API_KEY": "k", "SILICONFLOW_BASE_URL": "https://x/v1", "MINE_API_KEY": "k"}
    settings = {
        "siliconflow": ProviderSettings(region="intl"),
        "mine": ProviderSettings(base_url="https://{region}.example/v1", region="eu-1"),
    }
    found = resolve("siliconflow", settings, env).endpoint.base_url
    assert found == "https://api.siliconflow.com/v1"
    assert resolve("mine", settings, env).endpoint.base_url == "https://eu-1.example/v1"


def test_a_second_key_is_a_provider_by_configuration_alone() -> None:
    """It has the vendor's place and deviations, and a variable of its own name."""
    settings = {"glm-work": ProviderSettings(vendor="glm4", region="intl")}
    access = resolve("glm-work", settings, {"GLM_WORK_API_KEY": "k", "GLM4_API_KEY": "other"})
    assert access.endpoint.api_key == "k"
    assert access.endpoint.base_url == "https://api.z.ai/api/paas/v4"
    assert access.dialect == OpenAiChat("glm-work", CATALOG["glm4"].deviations)


def test_azure_is_a_provider_by_configuration_alone() -> None:
    """A dated interface has deployments in the path."""
    settings = {
        "azure": ProviderSettings(
            base_url="https://{region}.openai.azure.com/openai",
            region="my-resource",
            api_version="2024-10-21",
            api_key_env="AZURE_OPENAI_API_KEY",
            vendor="openai",
        )
    }
    access = resolve("azure", settings, {"AZURE_OPENAI_API_KEY": "k"})
    assert access.endpoint.base_url == "https://my-resource.openai.azure.com/openai"
    assert access.dialect.key_headers("k") == {"api-key": "k"}
    assert access.dialect.embed_batch_max == 2048


@pytest.mark.parametrize(
    ("name", "dialect", "base_url", "kind"),
    [
        ("openai", "responses", "https://api.openai.com/v1", OpenAiResponses),
        (
            "gemini",
            "openai",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            OpenAiChat,
        ),
        ("ollama", "openai", "http://localhost:11434/v1", OpenAiChat),
        ("anthropic", "openai", "https://api.anthropic.com/v1", OpenAiChat),
    ],
)
def test_a_vendor_may_speak_several_formats(name, dialect, base_url, kind) -> None:
    """Each at its own path; the settings choose."""
    settings = {name: ProviderSettings(dialect=dialect)}
    access = resolve(name, settings, {CATALOG[name].key_env[0]: "k"})
    assert (access.endpoint.base_url, type(access.dialect)) == (base_url, kind)


def test_responses_have_the_vendors_embeddings() -> None:
    """The format has none of its own."""
    settings = {"openai": ProviderSettings(dialect="responses")}
    assert resolve("openai", settings, {"OPENAI_API_KEY": "k"}).dialect.embed_batch_max == 2048


def test_a_token_of_anthropic_is_a_bearer() -> None:
    """Its keys and its tokens travel in different headers."""
    key = resolve("anthropic", {}, {"ANTHROPIC_API_KEY": "k"}).dialect
    token = resolve("anthropic", {}, {"ANTHROPIC_AUTH_TOKEN": "k"}).dialect
    assert key.key_headers("k") == {"x-api-key": "k"}
    assert token.key_headers("k") == {"authorization": "Bearer k"}


def test_a_vendors_defaults_stand_beneath_the_settings() -> None:
    """What the operator left alone is what suits the vendor, and its variables become headers."""
    assert resolve("ollama", {}, {}).settings.idle_seconds == 900
    chosen = {"ollama": ProviderSettings(idle_seconds=5, max_connections=3)}
    assert resolve("ollama", chosen, {}).settings.idle_seconds == 5
    env = {"OPENAI_API_KEY": "k", "OPENAI_ORG_ID": "org-1"}
    assert resolve("openai", {}, env).settings.headers == {"openai-organization": "org-1"}


def test_the_example_lists_every_variable(request) -> None:
    """.env.example names all that the catalog reads."""
    text = (request.config.rootpath / ".env.example").read_text()
    for vendor in CATALOG.values():
        names = [*vendor.key_env, *(one.name for one in vendor.base_url_env)]
        for name in (*names, *vendor.header_env.values()):
            assert f"{name}=" in text
