"""The recipes' commands are ones that thinkling takes, and each says what it needs in a command that thinkling plan
takes."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from thinkling.cli import COMMANDS, parse

FOLDER = Path(__file__).parents[1] / "recipes"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
PLAN = re.compile(r"thinkling plan [^\n|`]+")


def commands(script: Path) -> list[list[str]]:
    """The words behind `thinkling` of each command, with the script's own defaults put in."""
    text = script.read_text().replace("\\\n", " ")
    known = dict(re.findall(r'^(\w+)="\$\{\w+:-([^}]*)\}"', text, re.MULTILINE))
    found = []
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not re.search(r"(^|-m )thinkling \w", line):
            continue
        words = shlex.split(re.sub(r"\$(\w+)", lambda name: known.get(name[1], "1"), line))
        found.append(words[words.index("thinkling") + 1 :])
        assert "torchrun" not in words or COMMANDS[found[-1][0]].several
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_recipes_commands_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    for name, *flags in commands(script):
        parse(name, flags)  # raises UserError on a flag that does not parse
    assert commands(script) or "several-machines.sh" in script.read_text()


@pytest.mark.parametrize("path", [*SCRIPTS, FOLDER / "skypilot.yaml", FOLDER / "README.md"], ids=lambda path: path.name)
def test_a_recipe_says_what_it_needs(path: Path) -> None:
    text = path.read_text()
    plans = PLAN.findall(text)
    assert plans or "see several-machines.sh" in text
    for plan in plans:
        parse("plan", shlex.split(plan)[2:])


def test_files_that_recipes_name_are_there() -> None:
    for path in FOLDER.iterdir():
        for name in re.findall(r"recipes/([\w.-]+\w)", path.read_text()):
            assert (FOLDER / name).exists(), f"{path.name}: {name}"
