import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from curation.migrations._counting import keep_counts
from projects.immutable import forbid_change


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0009_snapshot_checks_comments_and_tombstones'),
        ('jobs', '0001_initial'),
        ('labeling', '0007_desks_are_read_from_their_cursor'),
        ('projects', '0005_a_metric_per_task_type'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Map',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('encoder', models.CharField(max_length=120)),
                ('method', models.CharField(max_length=10)),
                ('seed', models.PositiveIntegerField()),
                ('explained', models.FloatField(help_text='share of the variance that the two axes hold, for PCA', null=True)),
                ('n_points', models.PositiveIntegerField()),
                ('ids_sha256', models.CharField(max_length=64)),
                ('points_sha256', models.CharField(help_text='for the browser, as curation.map_file packs it', max_length=64)),
                ('table_sha256', models.CharField(help_text='Parquet: id, key, x, y, label, …', max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='maps', to='projects.project')),
                ('report', models.ForeignKey(db_index=False, help_text='whose scores colour it, if there was one', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.qualityreport')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Selection',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('ids_sha256', models.CharField(max_length=64)),
                ('n_examples', models.PositiveIntegerField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('map', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.map')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='selections', to='projects.project')),
            ],
            options={
                'ordering': ['-pk'],
                'constraints': [models.CheckConstraint(condition=models.Q(('n_examples__gt', 0)), name='selection_holds_something')],
            },
        ),
        forbid_change("curation_map", "curation_selection"),
        migrations.CreateModel(
            name='ExampleCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('split', models.CharField(choices=[('pool', 'Pool'), ('dev', 'Dev'), ('test', 'Test')], max_length=4)),
                ('n_examples', models.PositiveIntegerField()),
                ('n_labels', models.PositiveIntegerField(help_text='answers that count: the newest of each person on each example')),
                ('n_labelled', models.PositiveIntegerField(help_text='examples with at least one')),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='example_counts', to='projects.project')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('project', 'split'), name='one_count_per_project_and_split')],
            },
        ),
        keep_counts(),
    ]
