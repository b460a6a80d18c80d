from django.http import HttpRequest

from projects.models import Project
from projects.rights import MAY, role_in


def may(request: HttpRequest, project: Project) -> dict[str, bool]:
    """Which of the actions that these pages offer the person has in the project."""
    role = role_in(request.user, project)
    return {action: role in MAY[action] for action in ("run_baseline", "train", "promote", "write_prompts",
                                                             "judge_answers")}
