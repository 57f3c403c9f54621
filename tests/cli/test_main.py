from __future__ import annotations

import subprocess
import sys
import time

import pytest

from actrio import __version__
from actrio.__main__ import main
from actrio.cli import run_command_line
from actrio.cli._edge import exit_code_for, report_error
from actrio.errors import KINDS, ConfigError, NotFound, ProviderError

HEAVY = ("cyclopts", "httpx", "trio", "attrs", "rich", "msgspec", "structlog")


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version_is_told(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The version stands alone on standard output."""
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"actrio {__version__}\n"


def test_version_imports_nothing_heavy() -> None:
    """Answering --version loads none of the libraries that the rest needs."""
    code = (
        "import sys; from actrio.__main__ import main; main(['--version']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version_is_quick() -> None:
    """A whole process that tells its version takes under 150 ms, the best of five."""
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "actrio", "--version"], capture_output=True, check=True
        )
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.150


def test_help_leads_to_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Help shows the commands, examples and what the exit codes mean."""
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for word in ("run", "chat", "doctor", "model", "demo", "serve"):
        assert f"│ {word}" in told
    assert 'actrio run "What is the capital of France?"' in told
    assert "78 not configured" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnu"], 'Did you mean "run"'),
        (["run"], "nothing to ask"),
        (["run", "x", "--modle", "y"], "--modle"),
        (["run", "x", "--max-steps", "0"], "--max-steps"),
        (["serve", "--on-eof", "stop"], '"drain", "cancel"'),
    ],
)
def test_wrong_usage_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong command or option is exit code 2, with what would be right, on standard error."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in " ".join(err.replace("│", " ").split())


def test_windows_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On Windows every command says why not, and what to do instead."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert run_command_line(["run", "x"], version="1") == KINDS["not_supported"].exit
    err = capsys.readouterr().err
    assert "Windows" in err
    assert "WSL" in err


def test_an_error_is_what_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """An error of ours is told without a traceback; its kind is the exit code."""
    error = ConfigError("The file is wrong.", remedy="Correct it.")
    assert report_error(ExceptionGroup("x", [ExceptionGroup("y", [error])])) == 78
    assert capsys.readouterr().err == "error: The file is wrong.\n  what to do: Correct it.\n"


def test_a_bug_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A foreign exception is an internal error, also beside an ordinary one, and exit code 1."""
    group = ExceptionGroup("x", [NotFound("It is not there."), KeyError("oops")])
    assert report_error(group) == 1
    err = capsys.readouterr().err
    assert "internal error: KeyError: 'oops'" in err
    assert "report" in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """With --debug the traceback comes before the wording."""
    assert report_error(NotFound("It is not there."), debug=True) == 66
    err = capsys.readouterr().err
    assert err.startswith("actrio.errors.NotFound") or "Traceback" in err
    assert err.endswith("error: It is not there.\n")


def test_no_secret_in_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that got into an exception's text is not printed."""
    monkeypatch.setenv("SOME_API_KEY", "the-key-itself-1234")
    report_error(ValueError("refused: the-key-itself-1234"), debug=True)
    err = capsys.readouterr().err
    assert "the-key-itself-1234" not in err
    assert "[redacted]" in err


def test_exit_codes_follow_the_table() -> None:
    """Ctrl-C is 130, a reader who went away is no failure, a retryable provider error is 75."""
    assert exit_code_for(KeyboardInterrupt()) == 130
    assert exit_code_for(BrokenPipeError()) == 0
    assert exit_code_for(ValueError()) == 1
    busy = ProviderError("Busy.", provider="p", category="overloaded")
    assert exit_code_for(busy) == 75
    wrong = ProviderError("Wrong key.", provider="p", category="auth")
    assert exit_code_for(wrong) == 69
