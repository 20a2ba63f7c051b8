"""The parts of the documentation that are made from the code: `python -m imagehaul.cli.reference docs` writes them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from imagehaul.errors import Code
from imagehaul.settings import Settings, accepted


def codes_table() -> str:
    lines = ["| code | meaning | a retry can help | what to do |", "|---|---|---|---|"]
    lines += [f"| `{code}` | {code.meaning} | {'yes' if code.retryable else 'no'} | {code.advice} |" for code in Code]
    return "\n".join(lines)


def settings_table() -> str:
    lines = ["| flag | default | takes | what it does |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{_shown(field.default)}`"
        lines.append(f"| `{name.upper()}` | {default} | {accepted(name)} | {field.description} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return " " if value in ("", ()) else str(value)


PARTS = {"contracts.md": ("codes", codes_table), "settings.md": ("settings", settings_table)}


def with_table(text: str, name: str, table: str) -> str:
    """The page with its table between `<!-- name -->` and `<!-- end of name -->` made anew."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*(<!-- end of {name} -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def main(folder: Path) -> None:
    for file, (name, table) in PARTS.items():
        page = folder / file
        page.write_text(with_table(page.read_text(), name, table()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
