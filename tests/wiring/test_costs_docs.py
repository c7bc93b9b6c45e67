"""docs/costs.md speaks of what there is: commands, options, settings, prices, addresses (G7, O7)."""

import re
import shlex
from pathlib import Path

import click
import pytest

from podinsight.adapters import price_file
from podinsight.adapters.apprise_notifier import unusable
from podinsight.cli.main import cli
from podinsight.domain.budget import Limits, Scope
from podinsight.domain.money import usd
from podinsight.settings import Settings

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "costs.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for language, body in BLOCKS if not language for line in body.splitlines()]
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL))
COMMANDS = sorted({each.partition("  #")[0].strip() for each in [*LINES, *SPANS] if each.startswith("podrun ")})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_there(command: str) -> None:
    found: click.Command = cli
    words = shlex.split(command)[1:]
    while words and isinstance(found, click.Group):
        assert words[0] in found.commands
        found = found.commands[words.pop(0)]
    known = {name for option in found.params for name in option.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []


def test_every_setting_is_there_and_every_level_is_named() -> None:
    names = {name.lower() for name in re.findall(r"PODINSIGHT_([A-Z_]+)", TEXT)}
    names |= {
        each
        for each in SPANS
        if re.fullmatch(r"(stop|alert|halt|fleet|gpu|cpu|economy|sweep|approve|prices)_\w+", each)
    }
    assert {name for name in names if not name.endswith(("_ms", "_micros", "_day"))} <= set(Settings.model_fields)
    levels = {name for name in Settings.model_fields if re.fullmatch(r"(stop|alert)_\w+_usd", name)}
    assert levels <= names


@pytest.mark.parametrize("scope", [each for each in Scope if each is not Scope.RUN])
def test_levels_are_as_they_come(scope: Scope) -> None:
    (row,) = [line for line in TEXT.splitlines() if f"| `stop_{scope}_usd`" in line.replace(f"`alert_{scope}_usd`", "")]
    level = Limits().level(scope)
    told, stopped = row.split("|")[2:4]
    assert re.findall(r"\$[\d.]+", told) == [_short(each, told) for each in level.alerts]
    assert re.findall(r"\$[\d.]+|none", stopped) == [_short(level.stop, stopped)]


def _short(amount: int | None, said: str) -> str:
    if amount is None:
        return "none"
    return usd(amount) if usd(amount) in said else usd(amount).removesuffix(".00")


def test_the_prices_file_is_one() -> None:
    (body,) = [body for language, body in BLOCKS if language == "toml"]
    found = price_file.parse(body, "docs", "file")
    assert found.devices["cuda"].micros == 350_000


def test_every_address_can_be_used() -> None:
    urls = [each for each in SPANS if re.fullmatch(r"[a-z]+://\S+\S", each)]
    urls += [url for line in LINES if "://" in line for url in re.findall(r"[a-z]+://[^\s\"]+", line)]
    assert {url.partition(":")[0] for url in urls} == {"mailtos", "slack", "pagerduty", "jsons"}
    assert unusable(urls) == []
