"""Writes the pages of the rules into the documentation."""

from __future__ import annotations

from pathlib import Path

from wflint.explain import index, markdown
from wflint.rules import all_rules

FOLDER = Path(__file__).parents[2] / "docs" / "lint" / "rules"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    for rule in all_rules().values():
        (FOLDER / f"{rule.code}.md").write_text(markdown(rule), encoding="utf-8")
    (FOLDER / "README.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main()
