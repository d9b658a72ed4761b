"""The command line explains itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from gateway import __version__
from gateway.cli import build_parser, main


def _parsers(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from _parsers(inner, (*path, name))


COMMANDS = list(_parsers(build_parser()))


def test_the_commands_are_known() -> None:
    """Nobody adds or removes a command without noticing."""
    assert {
        "run", "demo", "check", "readings", "import", "summary", "facts", "outbox", "audit", "consent", "decode",
        "fhir", "simulate", "scan", "radio", "doctor", "pair", "unpair", "nightscout",
        "gaps", "intake", "quarantine", "weigh-ins",
    } == {path[0] for path in COMMANDS if path}  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a help page that explains each of its options."""
    with pytest.raises(SystemExit) as ended:
        main([*path, "--help"])
    page = capsys.readouterr().out
    assert 0 == ended.value.code
    assert page.startswith(f"usage: {' '.join(('gateway', *path))}")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    """No option without words, unless its name says it all."""
    parser = build_parser()
    for name in path:
        (choices,) = (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = choices[name]
    plain = {"--person", "--data", "--to"}
    silent = [a.option_strings for a in parser._actions if a.option_strings and not a.help]
    assert [] == [names for names in silent if not plain & set(names)]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["readings", "--metric", "mood"],
        ["simulate"],
        ["simulate", "readings", "--days", "0"],
        ["simulate", "readings", "--days", "x"],
        ["simulate", "readings", "--start", "yesterday"],
        ["decode", "00"],
        ["decode", "--characteristic", "2a18"],
        ["decode", "--characteristic", "2a18", "--service-data", "181d", "00"],
        ["fhir", "--target", "mes"],
        ["fhir", "--input", "-", "--target", "dmp"],
        ["consent", "grant", "--person", "camille"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments end with status 2 and the usage on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert (2, "") == (ended.value.code, captured.out)
    assert "usage: gateway" in captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the release."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert f"passerelle {__version__}\n" == capsys.readouterr().out
