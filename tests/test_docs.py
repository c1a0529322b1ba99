"""The pages keep their word: what they show runs in a copy of the project, and what they name exists.

A page's blocks run from top to bottom in one folder. The word behind a block's fence says what happens to it:

- ``python``: run; the blocks of a page share one namespace. A ``text`` block right behind it shows what it prints.
- ``bash`` or ``shell`` that begins with barzoo, ./train_all_symbols.sh or python: run, exit code 0. What is barzoo and
  nothing else runs in the page's own process, once the page has made its changes of the project, if any.
- ``console``: ``$ command`` is run, with exit code 0 unless ``# exit 3`` stands behind it, and each line below it must
  be a line of its output. ``console any-numbers``: with other numbers in their places. ``console whole``: no more.
- ``diff``: lines with ``+`` go into the file that its first line names, each behind the line above it.
- any other language whose first line is ``# some/file.yaml``: written to that file.

All else is read, not run. In shown output ``...`` stands for anything, and any number of blanks counts as one.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

from CONFIG.config_loader import run_topics
from CONFIG.strict_yaml import read_yaml

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PROJECT = ("CONFIG", "DATA_PROCESSING", "TRAINING", "train_all_symbols.sh")
COMMANDS = ("barzoo ", "./train_all_symbols.sh ", "python ")
README_COMMANDS = (
    "pip install -c constraints.txt -e . && ./train_all_symbols.sh --phase core",
    'pip install -c constraints.txt -e ".[test]" && pytest',
)
_FENCE = re.compile(r"^```(?P<info>.+)\n(?P<code>(?:.*\n)*?)```$", re.MULTILINE)
_FILE = re.compile(r"# (\S+/\S+|\S+\.(?:csv|py|yaml))\n")
_NUMBER = r"\d[\d,]*(?:\.\d+)?"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words behind that, its text, the line it begins on, and where it ends."""

    language: str
    words: tuple[str, ...]
    code: str
    line: int
    end: int


def blocks_of(text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        language, *words = found["info"].split()
        yield Block(language, tuple(words), found["code"], text.count("\n", 0, found.start("code")) + 1, found.end())


def run_page(page: Path) -> None:
    """Run a page's blocks in the current folder; the first that breaks its word stops it."""
    text = page.read_text("utf-8")
    blocks = list(blocks_of(text))
    last_change = max((block.line for block in blocks if changes_project(block)), default=0)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block, behind in zip_longest(blocks, blocks[1:]):
        where = f"{page.name}:{block.line}"
        run = run_here if block.line > last_change else run_apart
        named = _FILE.match(block.code)
        if block.language == "diff":
            add_lines(block)
        elif named and block.language != "console":
            Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(named[1]).write_text(block.code[named.end() :] if named[1].endswith(".csv") else block.code)
        elif block.language == "python":
            printed = io.StringIO()
            with redirect_stdout(printed):
                exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)  # noqa: S102
            if behind and behind.language == "text" and not text[block.end : behind.end].split("```")[0].strip():
                check_output(behind.code, printed.getvalue(), where)
        elif block.language in ("bash", "shell") and block.code.startswith(COMMANDS):
            run(block.code, 0, where)
        elif block.language == "console":
            for part in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
                command, _, shown = part.partition("\n")
                command, _, code = command.partition("  # exit ")
                check_output(shown, run(command, int(code or 0), where), where, block.words)


def changes_project(block: Block) -> bool:
    named = _FILE.match(block.code)
    return bool(named and block.language != "console" and named[1].startswith(PROJECT))


def run_here(command: str, exit_code: int, where: str) -> str:
    """Without a process for each command, which would take seconds to import what the one before had imported."""
    lines = [line for line in command.replace("\\\n", " ").splitlines() if line]
    if not all(re.fullmatch(r"barzoo(?: +[\w./,:=-]+| +'[^']*')+(?: *#.*)?", line) for line in lines):
        return run_apart(command, exit_code, where)
    from conftest import run_barzoo

    printed = ""
    for line in lines:
        done = run_barzoo(*shlex.split(line, comments=True)[1:], cwd=Path.cwd())
        printed += done.stderr + done.stdout
        if done.returncode:
            break
    assert done.returncode == exit_code, f"{where}: {line}\nexit code {done.returncode}\n{printed}"
    return printed


def run_apart(command: str, exit_code: int, where: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, f"{where}: {command}\nexit code {done.returncode}\n{done.stdout}"
    return done.stdout


def check_output(shown: str, printed: str, where: str, words: tuple[str, ...] = ()) -> None:
    expected, lines = (
        [" ".join(line.split()) for line in text.splitlines() if line.strip()] for text in (shown, printed)
    )
    assert "whole" not in words or len(expected) == len(lines), f"{where}: the whole output is\n{printed}"
    for line in expected:
        pattern = ".*".join(map(re.escape, line.split("...")))
        if "any-numbers" in words:
            pattern = re.sub(r"\d[\d,]*(\\\.\d+)?", lambda _: _NUMBER, pattern)
        assert any(re.fullmatch(pattern, other) for other in lines), f"{where}: no line {line!r} in\n{printed}"


def add_lines(block: Block) -> None:
    first, *lines = block.code.splitlines(keepends=True)
    path = Path(first.removeprefix("# ").strip())
    text, above = path.read_text(), ""
    for line in lines:
        if line.startswith("+"):
            assert text.count(above) == 1, f"{path}: no single line {above!r}"
            text = text.replace(above, above + line[1:])
        above = line[1:]
    path.write_text(text)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, and ``barzoo`` as a command beside it."""
    folder = tmp_path_factory.mktemp("docs") / "clone"
    folder.mkdir()
    for name in PROJECT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("data"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    command = folder.with_name("bin") / "barzoo"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m TRAINING "$@"\n')
    command.chmod(0o755)
    # Kernels that were never compiled are compiled here, once for all pages.
    subprocess.run(
        [command, "data", "build", "demo", "--output-dir", folder.with_name("tables")], cwd=folder, check=True
    )
    return folder


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```" in page.read_text("utf-8")], ids=lambda page: page.name
)
def test_blocks_run(page: Path, clone: Path, tmp_path: Path) -> None:
    """In a process of its own, with warnings as errors, as a reader who follows the page would run them."""
    folder = shutil.copytree(clone, tmp_path / "clone", symlinks=True)
    path = os.pathsep.join(map(str, (clone.with_name("bin"), Path(sys.executable).parent, os.environ["PATH"])))
    environment = {"PYTHONPATH": str(folder), "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1", "PATH": path}
    done = subprocess.run(
        [sys.executable, __file__, str(page)],
        cwd=folder,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_settings_are_shown_as_they_are_shipped() -> None:
    """A ``yaml`` block that becomes no file is part of a shipped one."""
    shipped = {line for path in (ROOT / "CONFIG").glob("*/*.yaml") for line in path.read_text("utf-8").splitlines()}
    for page in PAGES:
        for block in blocks_of(page.read_text("utf-8")):
            if block.language == "yaml" and not _FILE.match(block.code):
                assert set(block.code.splitlines()) <= shipped | {""}, f"{page.name}:{block.line}"


def test_readme_has_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    for command in README_COMMANDS:
        assert lines.count(command) == 1


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    """Whatever stands between backticks and begins with a folder of ours is there (but for what a run writes)."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    for name in re.findall(r"`((?:CONFIG|DATA_PROCESSING|TRAINING|benchmarks|docs|tests)/[^`\s<>]*)`", text):
        if not name.startswith("DATA_PROCESSING/data"):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_tree_of_the_house_is_the_real_one() -> None:
    text = (ROOT / "docs" / "02_ARCHITECTURE.md").read_text("utf-8")
    tree = next(block.code for block in blocks_of(text) if block.language == "text" and "CONFIG/" in block.code)
    named, above = set(), [""]
    for line in tree.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        path = above[depth] + name
        above[depth + 1 :] = [path]
        assert (ROOT / path).exists(), f"docs/02_ARCHITECTURE.md: {path}"
        named.add(path.rstrip("/"))
    rooms = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("TRAINING/**/__init__.py")} - {"TRAINING"}
    rooms |= {str(path.relative_to(ROOT)) for path in ROOT.glob("DATA_PROCESSING/*.py") if path.stem != "__init__"}
    assert rooms <= named, f"docs/02_ARCHITECTURE.md lacks {sorted(rooms - named)}"


@pytest.mark.parametrize("topic", run_topics())
def test_every_key_of_a_run_config_is_described(topic: str) -> None:
    text = (ROOT / "docs" / "03_CONFIG.md").read_text("utf-8")
    section = re.search(rf"^### {topic}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/03_CONFIG.md has no section {topic}"
    rows = {
        cells[0].strip("`"): cells[1:]
        for cells in ([cell.strip() for cell in line.strip("|").split(" | ")] for line in section[1].splitlines())
        if cells[0].startswith("`") or cells[0].startswith(" `")
    }
    config, _ = read_yaml(ROOT / "CONFIG" / "run_config" / f"{topic}.yaml")
    assert list(rows) == list(config["defaults"])
    for key, default in config["defaults"].items():
        limit = config["limits"].get(key, "")
        limit = ", ".join(map(str, limit)) if isinstance(limit, list) else limit
        written = ", ".join(default) if isinstance(default, list) else default
        assert rows[key][:2] == [f"`{written}`" if written != "" else "", f"`{limit}`" if limit else ""], key
        assert len(rows[key][2]) > 10, f"{key}: says nothing"


def options(command: object) -> set[str]:
    return {text for parameter in command.params for text in parameter.opts if text.startswith("--")}


def test_every_option_is_described() -> None:
    """Those of ``train`` in the quick start's table, all others somewhere."""
    import typer.main

    from TRAINING.cli import app

    barzoo = typer.main.get_command(app)
    rows = re.findall(r"^\| `(--[a-z-]+)` \|", (ROOT / "docs" / "01_QUICK_START.md").read_text("utf-8"), re.MULTILINE)
    assert set(rows) == options(barzoo.commands["train"])
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(page.read_text("utf-8") for page in PAGES)))
    groups = [barzoo, *barzoo.commands.values()]
    for command in groups + [child for group in groups[1:] for child in getattr(group, "commands", {}).values()]:
        assert options(command) <= named, f"{command.name}: no page names {sorted(options(command) - named)}"


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
