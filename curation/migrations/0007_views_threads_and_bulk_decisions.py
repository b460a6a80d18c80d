import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import F

from projects.immutable import forbid_change


def gain_by_quality_alone(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Reports from before know no better; the next scoring writes the whole of it."""
    scores = apps.get_model("curation", "ExampleScore").objects.filter(label_quality__isnull=False)
    scores.update(expected_gain=1 - F("label_quality"))


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0006_flags_of_every_kind'),
        ('jobs', '0001_initial'),
        ('labeling', '0007_desks_are_read_from_their_cursor'),
        ('projects', '0005_a_metric_per_task_type'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='BulkDecision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('query', models.CharField(help_text='the filter, as it stands in the address', max_length=2000)),
                ('action', models.CharField(choices=[('keep', 'keep the given labels'), ('accept', 'accept the suggestions'), ('relabel', 'give all of them one label'), ('exclude', 'leave them out'), ('undo', 'taken back')], max_length=8)),
                ('value', models.TextField(blank=True, help_text='the label, for relabel')),
                ('reason', models.TextField(blank=True)),
                ('n_previewed', models.PositiveIntegerField()),
                ('n_decided', models.PositiveIntegerField()),
                ('n_changed', models.PositiveIntegerField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='SavedView',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('query', models.CharField(max_length=2000)),
                ('is_shared', models.BooleanField(default=False, help_text='everybody who reviews in the project sees it')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['name', 'pk'],
            },
        ),
        migrations.AddField(
            model_name='examplescore',
            name='expected_gain',
            field=models.FloatField(default=0.0, help_text='what settling it is expected to change; 0 for nothing'),
        ),
        migrations.AddIndex(
            model_name='examplescore',
            index=models.Index(fields=['report', '-expected_gain', 'id'], name='score_most_gain_first'),
        ),
        migrations.AddIndex(
            model_name='examplescore',
            index=models.Index(condition=models.Q(('is_label_issue', True)), fields=['report', '-expected_gain', 'id'], name='score_flagged_most_gain_first'),
        ),
        migrations.AddField(
            model_name='bulkdecision',
            name='decided_by',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='bulkdecision',
            name='job',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job'),
        ),
        migrations.AddField(
            model_name='bulkdecision',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='bulk_decisions', to='projects.project'),
        ),
        migrations.AddField(
            model_name='bulkdecision',
            name='report',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.qualityreport'),
        ),
        migrations.AddField(
            model_name='bulkdecision',
            name='undoes',
            field=models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='undone_by', to='curation.bulkdecision'),
        ),
        migrations.AddField(
            model_name='decision',
            name='bulk',
            field=models.ForeignKey(db_index=False, help_text='where it is one of many', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to='curation.bulkdecision'),
        ),
        migrations.AddIndex(
            model_name='decision',
            index=models.Index(condition=models.Q(('verdict', 'discuss')), fields=['example'], name='decision_to_discuss'),
        ),
        migrations.AddIndex(
            model_name='decision',
            index=models.Index(condition=models.Q(('undoes__isnull', False)), fields=['undoes'], name='decision_taken_back'),
        ),
        migrations.AddIndex(
            model_name='decision',
            index=models.Index(condition=models.Q(('bulk__isnull', False)), fields=['bulk', 'id'], name='decisions_of_a_bulk'),
        ),
        migrations.AddField(
            model_name='message',
            name='asked',
            field=models.ForeignKey(help_text='whose word is waited for', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='message',
            name='author',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='message',
            name='example',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='messages', to='labeling.example'),
        ),
        migrations.AddField(
            model_name='savedview',
            name='owner',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='savedview',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='saved_views', to='projects.project'),
        ),
        migrations.AddConstraint(
            model_name='bulkdecision',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('action', 'undo'), ('undoes__isnull', False)), models.Q(models.Q(('action', 'undo'), _negated=True), ('undoes__isnull', True)), _connector='OR'), name='a_bulk_decision_names_what_it_undoes'),
        ),
        migrations.AddConstraint(
            model_name='bulkdecision',
            constraint=models.CheckConstraint(condition=models.Q(('n_decided__gte', 1)), name='a_bulk_decision_decides_something'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['example', 'id'], name='messages_of_an_example'),
        ),
        migrations.AddConstraint(
            model_name='savedview',
            constraint=models.UniqueConstraint(fields=('project', 'owner', 'name'), name='one_view_per_owner_and_name'),
        ),
        migrations.RunPython(gain_by_quality_alone, migrations.RunPython.noop),
        forbid_change("curation_decision", "curation_bulkdecision", "curation_message"),
    ]
