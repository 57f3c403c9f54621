from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actrio.errors import ConfigError, NotFound
from actrio.runtime import AgentSettings, Limits, LoadedSettings, load_agent_file, load_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for the user's own file, apart from the project."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def load(
    project: Path, home: Path, env: Mapping[str, str] | None = None, **more: Any
) -> LoadedSettings:
    return load_settings(env={"XDG_CONFIG_HOME": str(home), **(env or {})}, start=project, **more)


def user_file(home: Path, text: str) -> Path:
    path = home / "actrio" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_nothing_set_is_the_defaults(project: Path, home: Path) -> None:
    """Without any source the defaults hold and no origin is named."""
    loaded = load(project, home)
    assert loaded.settings.limits == Limits(turns=1000, sessions=10_000, queue_turns=8, steps=10)
    assert loaded.settings.model is None
    assert loaded.origins == {}
    assert loaded.files == ()


def test_each_source_beats_those_below(project: Path, home: Path) -> None:
    """Flags beat the environment, it beats .env, it beats the project's file, it the user's."""
    layers: list[tuple[str, str]] = []
    path = user_file(home, 'model = "user"\n')
    layers.append(("user", str(path)))
    assert load(project, home).settings.model == "user"
    (project / "actrio.toml").write_text('model = "project"\n')
    assert load(project, home).settings.model == "project"
    (project / ".env").write_text("ACTRIO_MODEL=dotenv\n")
    assert load(project, home).settings.model == "dotenv"
    env = {"ACTRIO_MODEL": "environment"}
    assert load(project, home, env).settings.model == "environment"
    loaded = load(project, home, env, flags={"model": "flag"})
    assert loaded.settings.model == "flag"
    assert loaded.origins == {"model": "the command line"}
    assert loaded.files == (project / ".env", project / "actrio.toml", path)


def test_tables_are_merged_and_origins_told_by_key(project: Path, home: Path) -> None:
    """Two files that set different keys of one table both count."""
    path = user_file(home, "[limits]\nturns = 5\nsteps = 3\n")
    (project / "actrio.toml").write_text("[limits]\nsteps = 4\n[providers.x]\nmax_connections=2\n")
    loaded = load(project, home, {"ACTRIO_LIMITS__SESSIONS": "7"})
    assert loaded.settings.limits == Limits(turns=5, steps=4, sessions=7)
    assert loaded.settings.providers["x"].max_connections == 2
    assert loaded.origins == {
        "limits.turns": str(path),
        "limits.steps": str(project / "actrio.toml"),
        "limits.sessions": "environment variable ACTRIO_LIMITS__SESSIONS",
        "providers.x.max_connections": str(project / "actrio.toml"),
    }


def test_nearest_project_file_counts(project: Path, home: Path) -> None:
    """The file of the nearest parent is read, and no other."""
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    (project / "actrio.toml").write_text('model = "outer"\n')
    assert load(inner, home).settings.model == "outer"
    (project / "a" / "actrio.toml").write_text('agent = "inner"\n')
    loaded = load(inner, home)
    assert (loaded.settings.model, loaded.settings.agent) == (None, "inner")


def test_pyproject_counts_where_it_has_the_table(project: Path, home: Path) -> None:
    """[tool.actrio] is a project file; a pyproject without it is passed by."""
    inner = project / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text('[project]\nname = "actrio-user"\n')
    (project / "pyproject.toml").write_text('[tool.actrio]\nmodel = "m"\n')
    assert load(inner, home).settings.model == "m"
    (inner / "pyproject.toml").write_text("[project\nactrio")
    assert load(inner, home).settings.model == "m"


def test_dot_env_gives_keys_without_touching_the_environment(project: Path, home: Path) -> None:
    """A .env file lies under the real environment, and neither changes the other."""
    (project / ".env").write_text('A_API_KEY="from file"\nB_API_KEY=from-file\nC=${HOME}\nD\n')
    before = dict(os.environ)
    loaded = load(project, home, {"A_API_KEY": "real"})
    assert loaded.env["A_API_KEY"] == "real"
    assert loaded.env["B_API_KEY"] == "from-file"
    assert loaded.env["C"] == "${HOME}"
    assert dict(os.environ) == before
    assert "from-file" not in repr(loaded)


def test_variables_are_read_as_what_they_set(project: Path, home: Path) -> None:
    """Numbers, booleans, lists and tables are TOML; text is text even where it looks like a number."""
    loaded = load(
        project,
        home,
        {
            "ACTRIO_MODEL": "42",
            "ACTRIO_LOG__JSON": "true",
            "ACTRIO_LOG__LEVEL": "debug",
            "ACTRIO_LIMITS__TURNS": "3",
            "ACTRIO_PROVIDERS__X__BASE_URL": "http://127.0.0.1:1/v1",
            "ACTRIO_PROVIDERS__X__IDLE_SECONDS": "2.5",
            "ACTRIO_AGENTS__A__TOOLS": '["m:f"]',
            "ACTRIO_DATA_DIR": "/somewhere",
            "ACTRIO_GATEWAY_API_KEY": "named-by-some-api_key_env",
        },
    )
    settings = loaded.settings
    assert settings.model == "42"
    assert settings.log.json is True
    assert settings.log.level == "debug"
    assert settings.limits.turns == 3
    assert settings.providers["x"].base_url == "http://127.0.0.1:1/v1"
    assert settings.providers["x"].idle_seconds == 2.5
    assert settings.agents["a"].tools == ("m:f",)
    assert settings.agents["a"].name == "a"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ACTRIO_MODLE", "x", 'ACTRIO_MODLE: modle: unknown key. Did you mean "model"?'),
        ("ACTRIO_LIMITS__TURNS", "many", "limits.turns: expected a whole number, found a string"),
        ("ACTRIO_LIMITS__TURNS", "0", "turns is 0. Write 1 or more."),
        ("ACTRIO_LIMITS", "3", "limits: expected a table"),
        ("ACTRIO_LOG__LEVEL", "loud", 'log.level: expected one of "debug"'),
        ("ACTRIO_LIMITS__", "3", "unknown key"),
    ],
)
def test_wrong_variables_are_named(
    project: Path, home: Path, name: str, value: str, told: str
) -> None:
    """A variable that sets nothing, or wrongly, is an error that names it."""
    with pytest.raises(ConfigError) as caught:
        load(project, home, {name: value})
    assert f"environment variable {name}: " in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = 3", "actrio.toml: model: expected a string, found a whole number (3)."),
        ("modle = 'x'", 'modle: unknown key. Did you mean "model"?'),
        ("[limits]\nturns = true", "limits.turns: expected a whole number"),
        ("[limits]\nsteps = 0", "steps is 0. Write 1 or more."),
        ("[providers.x]\nbase_urll = 'u'", 'providers.x.base_urll: unknown key. Did you mean "bas'),
        ("[agents.a]\ntools = ['f']", 'the tool "f" is not of the form module:function'),
        ("[agents.a]\nif_busy = 'wait'", 'agents.a.if_busy: expected one of "queue", "reject"'),
        ("[agents.a.options]\ntemperature = 'hot'", "agents.a.options.temperature: expected"),
        ("model = \n", "actrio.toml:1:"),
    ],
)
def test_wrong_files_are_named(project: Path, home: Path, text: str, told: str) -> None:
    """A wrong type, an unknown key or broken TOML is told with file, key, problem and remedy."""
    (project / "actrio.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(project, home)
    assert str(project / "actrio.toml") in str(caught.value)
    assert told in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        '[providers.x]\napi_key = "sk-abcdefghijklmnop"',
        '[providers.x.headers]\nX-Api-Key = "sk-abcdefghijklmnop"',
        '[providers.x]\napi_key_env = "sk-abcdefghijklmnop"',
        '[providers.x]\napi_key_env = "gsk_abcdefghijklmnop"',
        'token = "sk-abcdefghijklmnop"',
    ],
)
def test_a_literal_secret_is_refused_and_not_repeated(project: Path, home: Path, text: str) -> None:
    """A key in a file is refused with the way to do it, and never shown."""
    (project / "actrio.toml").write_text(text)
    with pytest.raises(ConfigError, match="api_key_env") as caught:
        load(project, home)
    assert "abcdefghijklmnop" not in str(caught.value)


def test_a_secret_variable_is_refused_as_a_setting(project: Path, home: Path) -> None:
    """A key cannot come in as a provider's setting by the environment either."""
    with pytest.raises(ConfigError, match="literal secret"):
        load(project, home, {"ACTRIO_PROVIDERS__X__API_KEY": "abc"})


def test_a_named_file_is_read_in_the_place_of_the_projects(project: Path, home: Path) -> None:
    """--config names the file; it must exist."""
    (project / "actrio.toml").write_text('model = "project"\n')
    other = project / "other.toml"
    with pytest.raises(NotFound, match=r"other\.toml"):
        load(project, home, config=other)
    other.write_text('model = "other"\n')
    assert load(project, home, config=other).settings.model == "other"
    with pytest.raises(ConfigError, match="cannot be read"):
        load(project, home, config=project)


AGENT = AgentSettings(
    name="weather", model="scripted:demo", instructions="Be brief.", tools=("m:f",), steps_max=3
)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "weather.toml",
            'model = "scripted:demo"\ninstructions = "Be brief."\ntools = ["m:f"]\nsteps_max = 3\n',
        ),
        (
            "weather.yaml",
            "model: scripted:demo\ninstructions: Be brief.\ntools:\n  - m:f\nsteps_max: 3\n",
        ),
        (
            "a.yml",
            (
                "name: weather\nmodel: scripted:demo\ninstructions: Be brief.\n"
                "tools: [m:f]\nsteps_max: 3\n"
            ),
        ),
        (
            "weather.json",
            (
                '{"model": "scripted:demo", "instructions": "Be brief.", "tools": ["m:f"],'
                ' "steps_max": 3}'
            ),
        ),
    ],
)
def test_an_agent_is_the_same_in_each_language(project: Path, file: str, text: str) -> None:
    """TOML, YAML and JSON describe one agent; its name is the file's where it gives none."""
    path = project / file
    path.write_text(text)
    assert load_agent_file(path) == AGENT


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("a.yaml", "model: x\nsteps_max: '3'\n", "steps_max: expected a whole number"),
        ("a.yaml", "model: x\ninstruction: y\n", 'Did you mean "instructions"?'),
        ("a.yaml", "model: [x\n", "a.yaml:2"),
        ("a.json", '{"model": }', "a.json:1:11"),
        ("a.toml", "model = x\n", "a.toml:1"),
        ("a.yaml", "api_key: abc\n", "literal secret"),
        ("a.yaml", "1: abc\n", "1: unknown key"),
        ("a.ini", "", "a file of this kind"),
    ],
)
def test_a_wrong_agent_file_is_told(project: Path, file: str, text: str, told: str) -> None:
    """Each wrong agent file is a ConfigError that names file and place."""
    path = project / file
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_agent_file(path)
    assert told in str(caught.value)
    assert file in str(caught.value)


def test_an_agent_file_that_is_not_there(project: Path) -> None:
    """A missing file is NotFound."""
    with pytest.raises(NotFound, match=r"none\.toml"):
        load_agent_file(project / "none.toml")


@given(st.dictionaries(st.text("ABCDEFGILMNOSTU_", min_size=1).map("ACTRIO_".__add__), st.text()))
def test_any_variables_are_settings_or_a_config_error(env: dict[str, str]) -> None:
    """Whatever the environment holds, the outcome is settings or a ConfigError."""
    outcome: object
    try:
        outcome = load_settings(env=env | {"XDG_CONFIG_HOME": "/nonexistent"}, start=Path("/"))
    except ConfigError as error:
        outcome = error
    assert isinstance(outcome, (LoadedSettings, ConfigError))
