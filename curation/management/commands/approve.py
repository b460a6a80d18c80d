from argparse import ArgumentParser
from typing import Any

from curation.management.base import add_snapshot, snapshot_of
from curation.models import Approval
from curation.services.approvals import approve_snapshot, override_check
from curation.services.checks import check_snapshot
from jobs.management.base import GoldpanCommand, project_of, user_of


class Command(GoldpanCommand):
    help = "Approve a snapshot for training, or refuse it."

    def arguments(self, parser: ArgumentParser) -> None:
        add_snapshot(parser)
        parser.add_argument("--by", required=True, help="an admin of the project who did not make the snapshot")
        parser.add_argument("--sha256", help="the hash you have read; the snapshot's own if left out")
        parser.add_argument("--refuse", action="store_true")
        parser.add_argument("--comment", default="", help="of a refusal the reason")
        parser.add_argument("--override", action="append", default=[], metavar="CHECK=REASON",
                            help="approve although this check fails, and why; may be given several times. The checks: "
                                 "leaks, groups, blind_labels, labels, balance, personal_data, conflicts, scoring, "
                                 "staleness")

    def work(self, **options: Any) -> dict[str, Any]:
        snapshot = snapshot_of(project_of(options["project"]), options["snapshot"])
        by, n_of = user_of(options["by"]), {check.name: check.n for check in check_snapshot(snapshot)}
        for given in options["override"]:
            name, _, reason = given.partition("=")
            override_check(snapshot, name=name, n=n_of.get(name, 0), reason=reason, by=by)
        approval = approve_snapshot(
            snapshot, sha256=options["sha256"] or snapshot.sha256, approver=by,
            comment=options["comment"],
            decision=Approval.Choice.refused if options["refuse"] else Approval.Choice.approved)
        return {"snapshot": snapshot.number, "sha256": approval.sha256, "decision": approval.decision}
