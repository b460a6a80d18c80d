import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from projects.immutable import forbid_change


class Migration(migrations.Migration):

    dependencies = [
        ('projects', '0005_a_metric_per_task_type'),
        ('training', '0011_a_prompts_words_may_be_erased'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='CriticalSlices',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kinds', models.JSONField(help_text='of KINDS in training.slices')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='critical_slices', to='projects.project')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='GeneralCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('suite_sha256', models.CharField(max_length=64)),
                ('base_right', models.JSONField(help_text="per question, in the suite's order")),
                ('adapter_right', models.JSONField()),
                ('p_value', models.FloatField(help_text='one-sided, that the adapter answers no fewer')),
                ('seconds', models.FloatField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('adapter', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='general_check', to='training.adapter')),
            ],
        ),
        migrations.CreateModel(
            name='MergedExport',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sha256', models.CharField(help_text='of the tar in the object store', max_length=64)),
                ('size', models.BigIntegerField(help_text='bytes of the tar')),
                ('files', models.JSONField(help_text='file name → sha256 in the tar')),
                ('n', models.PositiveIntegerField(help_text='test rows replayed')),
                ('n_equal', models.PositiveIntegerField(help_text='that were answered as at the evaluation')),
                ('differing', models.JSONField(help_text='keys of the other rows')),
                ('score', models.FloatField(help_text="of the merged model on these rows, by the project's metric")),
                ('seconds', models.FloatField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('adapter', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='merged_export', to='training.adapter')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('n_equal__lte', models.F('n'))), name='no_more_rows_answered_alike_than_there_are')],
            },
        ),
        forbid_change("training_criticalslices", "training_generalcheck", "training_mergedexport"),
    ]
