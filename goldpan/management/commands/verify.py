from argparse import ArgumentParser
from typing import Any

from goldpan.verification import erasures, problems
from jobs.management.base import GoldpanCommand


class Command(GoldpanCommand):
    help = "Hash every stored file, snapshot, approval and the audit chain again. Exit code 1 if anything is off."

    def arguments(self, parser: ArgumentParser) -> None:
        pass

    def work(self, **options: Any) -> dict[str, Any]:
        found, gone = list(problems()), list(erasures())
        return {"problems": found} | ({"erasures": gone} if gone else {})

    def say(self, result: dict[str, Any]) -> str:
        return "\n".join([*(result["problems"] or ["Everything holds."]), *result.get("erasures", [])])

    def exit_code(self, result: dict[str, Any]) -> int:
        return 1 if result["problems"] else 0
