import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

from projects.immutable import forbid_change


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0007_views_threads_and_bulk_decisions'),
        ('jobs', '0001_initial'),
        ('projects', '0005_a_metric_per_task_type'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Experiment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('arms', 'Does the gold set help?'), ('fixes', 'What do corrections bring?')], max_length=5)),
                ('split', models.CharField(help_text='dev or test: the rows that judge; every look at test counts', max_length=5)),
                ('n', models.PositiveIntegerField(help_text='rows that judged')),
                ('config', models.JSONField(help_text='recipe, seeds, rule, encoder, hash of the judging rows')),
                ('verdict', models.JSONField(help_text='sentences, the first is the headline')),
                ('groups', models.JSONField(default=list, help_text='of fixes: groups of flagged rows and what they may bring')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='ExperimentArm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('name', models.CharField(max_length=60)),
                ('what', models.TextField(help_text='which rows and which labels, in words')),
                ('n_rows', models.PositiveIntegerField(help_text='training rows, of each draw')),
                ('accuracies', models.JSONField(help_text='one per seed; one alone where nothing is drawn')),
                ('accuracy', models.JSONField(help_text='mean over the seeds, with its interval')),
                ('difference', models.JSONField(help_text='to the first arm, paired, with its interval; null for that arm', null=True)),
                ('rows_sha256', models.CharField(help_text='JSON: by seed, example ids and labels', max_length=64)),
                ('right_sha256', models.CharField(help_text='JSON: by seed, which judging rows came out right', max_length=64)),
                ('seconds', models.FloatField()),
            ],
            options={
                'ordering': ['experiment', 'position'],
            },
        ),
        migrations.CreateModel(
            name='GoldPick',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('fingerprint', models.CharField(help_text='of the rule, the report, and all that was said since', max_length=64)),
                ('rule', models.JSONField()),
                ('facts', models.JSONField(help_text='what the page shows')),
                ('picks_sha256', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='LabelForecast',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('target_metric', models.CharField(max_length=20)),
                ('target_value', models.FloatField()),
                ('n_train', models.PositiveIntegerField()),
                ('n_dev', models.PositiveIntegerField()),
                ('sizes', models.JSONField()),
                ('errors', models.JSONField(help_text='per size, one error per subset')),
                ('found', models.JSONField(help_text='curve with its band, labels needed, seconds, wage')),
                ('words', models.JSONField(help_text='sentences, the first is the headline')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.AddField(
            model_name='goldset',
            name='audit_share',
            field=models.FloatField(default=0.05, help_text='of the rows, drawn at random to be checked by hand'),
        ),
        migrations.AddField(
            model_name='goldset',
            name='method',
            field=models.CharField(choices=[('spread', 'spread over the texts'), ('draw', 'drawn at random')], default='draw', max_length=6),
        ),
        migrations.AlterField(  # a rule that stands goes on picking as it did; new ones spread
            model_name='goldset',
            name='method',
            field=models.CharField(choices=[('spread', 'spread over the texts'), ('draw', 'drawn at random')], default='spread', max_length=6),
        ),
        migrations.AddField(
            model_name='goldset',
            name='uncertain_share',
            field=models.FloatField(default=0.1, help_text='of the rows, kept for hard ones that people settled'),
        ),
        migrations.AddConstraint(
            model_name='goldset',
            constraint=models.CheckConstraint(condition=models.Q(('audit_share__gte', 0), ('audit_share__lte', django.db.models.expressions.CombinedExpression(models.Value(1), '-', models.F('uncertain_share'))), ('uncertain_share__gte', 0)), name='gold_set_keeps_no_more_places_than_there_are'),
        ),
        migrations.AddField(
            model_name='experiment',
            name='created_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='experiment',
            name='job',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job'),
        ),
        migrations.AddField(
            model_name='experiment',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='experiments', to='projects.project'),
        ),
        migrations.AddField(
            model_name='experiment',
            name='report',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.qualityreport'),
        ),
        migrations.AddField(
            model_name='experimentarm',
            name='experiment',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='arms', to='curation.experiment'),
        ),
        migrations.AddField(
            model_name='goldpick',
            name='job',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job'),
        ),
        migrations.AddField(
            model_name='goldpick',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='gold_picks', to='projects.project'),
        ),
        migrations.AddField(
            model_name='goldpick',
            name='report',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.qualityreport'),
        ),
        migrations.AddField(
            model_name='labelforecast',
            name='job',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job'),
        ),
        migrations.AddField(
            model_name='labelforecast',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='label_forecasts', to='projects.project'),
        ),
        migrations.AddField(
            model_name='labelforecast',
            name='report',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.qualityreport'),
        ),
        migrations.AddConstraint(
            model_name='experiment',
            constraint=models.CheckConstraint(condition=models.Q(('split__in', ['dev', 'test'])), name='an_experiment_is_judged_on_held_out_rows'),
        ),
        migrations.AddConstraint(
            model_name='experimentarm',
            constraint=models.UniqueConstraint(fields=('experiment', 'position'), name='arms_of_an_experiment_have_an_order'),
        ),
        migrations.AddConstraint(
            model_name='goldpick',
            constraint=models.UniqueConstraint(fields=('project', 'fingerprint'), name='a_rule_picks_once_from_the_same_labels'),
        ),
        forbid_change("curation_experiment", "curation_experimentarm", "curation_labelforecast"),
    ]
