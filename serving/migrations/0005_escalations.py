from django.db import migrations, models

from projects.immutable import Blanking, forbid_change_but


class Migration(migrations.Migration):

    dependencies = [
        ('serving', '0004_signals_compare_with_own_traffic'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='feedback',
            name='feedback_says_something',
        ),
        migrations.AddField(
            model_name='feedback',
            name='is_escalated',
            field=models.BooleanField(default=False, help_text='a person had to take over'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('thumb', ''), _negated=True), ('correction__isnull', False), ('outcome__isnull', False), ('is_escalated', True), _connector='OR'), name='feedback_says_something'),
        ),
        forbid_change_but("serving_feedback", Blanking(
            {"correction": ["'\"[erased]\"'", "'{}'", "'[]'"], "comment": ["''"]},
            "EXISTS (SELECT 1 FROM serving_takencorrection JOIN curation_erasure USING (example_id) "
            "WHERE serving_takencorrection.feedback_id = OLD.id)")),
    ]
