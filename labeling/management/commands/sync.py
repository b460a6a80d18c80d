from labeling.management.commands.pull_annotations import Command as PullAnnotations


class Command(PullAnnotations):
    help = "One round with Label Studio in both directions; --reconcile proves both sides equal, task by task."
