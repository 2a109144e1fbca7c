"""Write docs/models/<name>.md from the cards and recipes of the built-in models, so that the pages cannot go stale.

python scripts/build_model_pages.py            # write
python scripts/build_model_pages.py --check    # exit 1 if a page differs from what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cardiozoo.cards import read_card
from cardiozoo.cli.recipes import recipes_for
from cardiozoo.registry import registered

PAGES = Path(__file__).parents[1] / "docs" / "models"
PUBLISHED = ("source", "task", "leads", "accuracy", "auroc", "mcc")
HEADER = "<!-- Written by scripts/build_model_pages.py from the card and the recipes; edit those. -->"


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    def line(cells: list[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, rows)]


def page(name: str, card: dict[str, Any]) -> str:
    paper = card["paper"]
    lines = [f"# {card['title']}", "", HEADER, "", card["summary"].strip(), ""]
    lines += [f'{paper["authors"]}: "{paper["title"]}", {paper["venue"]} {paper["year"]}. <{paper["url"]}>', ""]
    encoder = " --model.encoder RUN" if name == "finetune" else ""
    lines += [*(f"    cardiozoo fit --model {name}{encoder} --data {data}" for data in data_of(name)), ""]
    lines += [f"All options: `cardiozoo fit --model.help {name}`. {card.get('license_note', '')}", ""]
    facts = [
        ["modalities", ", ".join(card["modalities"])],
        ["tasks", ", ".join(card["tasks"])],
        ["may miss", ", ".join(card.get("missing", [])) or "nothing"],
    ]
    lines += [*table(["", ""], facts), ""]
    if card.get("parameters"):
        lines += ["## Parameters", ""]
        lines += [*table(["what", "count"], [[p["what"], f"{p['count']:,}"] for p in card["parameters"]]), ""]
    if card.get("stages"):
        lines += ["## Stages", "", *(f"- {stage_line(stage)}" for stage in card["stages"]), ""]
    if card.get("departures"):
        columns = ["topic", "paper", "released", "here", "option"]
        lines += ["## Where paper and released code differ, and what happens here", ""]
        lines += [*table(columns, [[row.get(c, "") for c in columns] for row in card["departures"]]), ""]
    if card.get("published"):
        columns = [c for c in PUBLISHED if any(c in row for row in card["published"])]
        rows = [[printed(row.get(c, "")) for c in columns] for row in card["published"]]
        lines += ["## Published results", "", "Mean and standard deviation, or half of the stated interval.", ""]
        lines += [*table([{"auroc": "AUROC", "mcc": "MCC"}.get(c, c) for c in columns], rows), ""]
    lines += ["## Recipes", ""]
    for recipe in recipes_for(name):
        lines += [f"`{recipe.name}`", "", "```yaml", recipe.path.read_text().strip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def data_of(name: str) -> list[str]:
    """Data modules that the model has a recipe for."""
    return list(dict.fromkeys(recipe.name.split("/")[1].split(".")[0] for recipe in recipes_for(name)))


def printed(value: Any) -> str:
    return " ± ".join(f"{number:g}" for number in value) if isinstance(value, list) else str(value)


def stage_line(stage: Any) -> str:
    return "; ".join(f"{key}: {value}" for key, value in stage.items()) if isinstance(stage, dict) else str(stage)


def pages() -> dict[Path, str]:
    built_in = {name: entries[0] for name, entries in registered("model").items() if entries[0].package == "cardiozoo"}
    return {PAGES / f"{name}.md": page(name, read_card(entry)) for name, entry in sorted(built_in.items())}


def main(check: bool) -> int:
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if check:
        for path in stale:
            print(f"{path.name} is stale: run python scripts/build_model_pages.py")
        return bool(stale)
    PAGES.mkdir(parents=True, exist_ok=True)
    for path, text in pages().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
