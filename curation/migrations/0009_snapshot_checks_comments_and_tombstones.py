import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from projects.immutable import Blanking, forbid_change, forbid_change_but

IS_ERASED = "EXISTS (SELECT 1 FROM curation_erasure WHERE example_id = OLD.{})"


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0008_selection_experiments_and_forecasts'),
        ('jobs', '0001_initial'),
        ('labeling', '0007_desks_are_read_from_their_cursor'),
        ('projects', '0005_a_metric_per_task_type'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApprovalRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('note', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name='CheckOverride',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='of the check', max_length=20)),
                ('n', models.PositiveIntegerField(help_text='findings that were accepted; more of them make it fail again')),
                ('reason', models.TextField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.TextField(help_text='for the record, without the name of whoever asked')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='RedactedRows',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sha256', models.CharField(help_text='of the file as it is now', max_length=64)),
                ('replaces_sha256', models.CharField(help_text='of the file before, which was removed', max_length=64)),
                ('n_erased', models.PositiveIntegerField(help_text='tombstones in it')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='SnapshotCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=20)),
                ('claim', models.TextField()),
                ('holds', models.BooleanField()),
                ('n', models.PositiveIntegerField(help_text='rows, labels or groups that break the claim')),
                ('found', models.TextField(help_text='the figures that decided it')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='SnapshotComment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.AddField(
            model_name='snapshot',
            name='last_annotation',
            field=models.BigIntegerField(help_text='pk of the newest annotation when it was frozen', null=True),
        ),
        migrations.AddField(
            model_name='snapshot',
            name='last_decision',
            field=models.BigIntegerField(help_text='pk of the newest decision when it was frozen', null=True),
        ),
        migrations.AddField(
            model_name='snapshot',
            name='origin',
            field=models.CharField(choices=[('frozen', 'frozen from the gold set'), ('rolled_back', 'the rows of an earlier snapshot again'), ('imported', 'imported from a snapshot file')], default='frozen', max_length=11),
        ),
        migrations.AddField(
            model_name='snapshot',
            name='same_as',
            field=models.ForeignKey(help_text='the earlier snapshot whose rows these are again', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.snapshot'),
        ),
        migrations.AlterField(
            model_name='snapshot',
            name='report',
            field=models.ForeignKey(help_text='that the gold set was chosen by; none of one that was imported', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.qualityreport'),
        ),
        migrations.AddIndex(
            model_name='snapshotrow',
            index=models.Index(fields=['snapshot', 'position'], name='row_of_snapshot_by_position'),
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='asked_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='approvalrequest',
            name='snapshot',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='request', to='curation.snapshot'),
        ),
        migrations.AddField(
            model_name='checkoverride',
            name='by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='checkoverride',
            name='snapshot',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='overrides', to='curation.snapshot'),
        ),
        migrations.AddField(
            model_name='erasure',
            name='erased_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='erasure',
            name='example',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='erasure', to='labeling.example'),
        ),
        migrations.AddField(
            model_name='erasure',
            name='job',
            field=models.ForeignKey(help_text='it cleans files and desks', on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job'),
        ),
        migrations.AddField(
            model_name='erasure',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='erasures', to='projects.project'),
        ),
        migrations.AddField(
            model_name='redactedrows',
            name='job',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job'),
        ),
        migrations.AddField(
            model_name='redactedrows',
            name='snapshot',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='redactions', to='curation.snapshot'),
        ),
        migrations.AddField(
            model_name='snapshotcheck',
            name='snapshot',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='checks', to='curation.snapshot'),
        ),
        migrations.AddField(
            model_name='snapshotcomment',
            name='author',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='snapshotcomment',
            name='snapshot',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='comments', to='curation.snapshot'),
        ),
        migrations.AddConstraint(
            model_name='snapshotcheck',
            constraint=models.UniqueConstraint(fields=('snapshot', 'name'), name='a_check_is_stored_once_per_snapshot'),
        ),
        forbid_change(
            "curation_snapshot", "curation_snapshotcheck", "curation_checkoverride", "curation_approvalrequest",
            "curation_snapshotcomment", "curation_erasure", "curation_redactedrows"),
        # What an erasure may do, and nothing else: see curation.services.erasing.
        forbid_change_but("labeling_example", Blanking({"text": ["''"], "data": ["'{}'"]}, IS_ERASED.format("id")),
                          of=["text", "data", "content_sha256", "key", "project_id"]),
        forbid_change_but("labeling_annotation", Blanking(
            {"value": ["'\"[erased]\"'", "'{}'", "'[]'"]}, IS_ERASED.format("example_id"))),
        forbid_change_but("curation_decision", Blanking(
            {"value": ["'[erased]'"], "reason": ["''"]}, IS_ERASED.format("example_id"))),
        forbid_change_but("curation_message", Blanking({"text": ["''"]}, IS_ERASED.format("example_id"))),
        forbid_change_but("curation_snapshotrow", Blanking({"label": ["'[erased]'"]}, IS_ERASED.format("example_id"))),
    ]
