from django.db import models

from labeling.models import Example
from projects.models import Project


class ExampleCount(models.Model):
    """How many examples and answers a split of a project has, so that no page has to count them.

    The database keeps it by triggers, in the transaction of what it counts (migrations/_counting.py);
    code only reads it.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="example_counts", db_index=False)
    split = models.CharField(max_length=4, choices=Example.Split)
    n_examples = models.PositiveIntegerField()
    n_labels = models.PositiveIntegerField(help_text="answers that count: the newest of each person on each example")
    n_labelled = models.PositiveIntegerField(help_text="examples with at least one")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "split"], name="one_count_per_project_and_split")]

    def __str__(self) -> str:
        return f"{self.split}: {self.n_examples}"
