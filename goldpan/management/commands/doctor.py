from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from goldpan.health import examine
from jobs.management.base import GoldpanCommand


class Command(GoldpanCommand):
    help = "Look at every part: ok, or what to do. Exit code 1 if a part is not well."

    def arguments(self, parser: ArgumentParser) -> None:
        pass

    def work(self, **options: Any) -> dict[str, Any]:
        return {"parts": [asdict(finding) for finding in examine()]}

    def say(self, result: dict[str, Any]) -> str:
        return "\n".join(f"{'ok ' if part['ok'] else 'FIX'}  {part['part']:<15} {part['words']}"
                         for part in result["parts"])

    def exit_code(self, result: dict[str, Any]) -> int:
        return 0 if all(part["ok"] for part in result["parts"]) else 1
