import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from projects.immutable import forbid_change


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0001_initial'),
        ('labeling', '0007_desks_are_read_from_their_cursor'),
        ("training", "0013_full_fine_tuning"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AnswerPair',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveIntegerField(help_text='in the order, drawn at random, in which people are asked')),
                ('is_swapped', models.BooleanField(help_text="people see the second run's answer as answer 1")),
                ('settled', models.FloatField(help_text="the second run's share where nobody needs to judge", null=True)),
                ('example', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='labeling.example')),
            ],
            options={
                'ordering': ['position'],
            },
        ),
        migrations.CreateModel(
            name='HumanPreference',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('choice', models.CharField(choices=[('first', "the first run's"), ('second', "the second run's"), ('tie', 'neither'), ('open', 'taken back')], max_length=6)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('judged_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('pair', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='preferences', to='training.answerpair')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='PairwiseEvaluation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seed', models.PositiveIntegerField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('first', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.evaluation')),
                ('second', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.evaluation')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='JudgeRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model', models.CharField(max_length=200)),
                ('is_endpoint', models.BooleanField(help_text='else the embedded model, by the likelihood of both answers')),
                ('prompt_version', models.PositiveIntegerField(help_text='of training.judging')),
                ('prompt_sha256', models.CharField(max_length=64)),
                ('guideline', models.PositiveIntegerField(help_text="the guideline's version")),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job')),
                ('pairwise', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='judge_runs', to='training.pairwiseevaluation')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.AddField(
            model_name='answerpair',
            name='pairwise',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='pairs', to='training.pairwiseevaluation'),
        ),
        migrations.CreateModel(
            name='JudgePreference',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('as_it_is', models.CharField(blank=True, help_text="side it chose, the first run's answer on the left", max_length=5)),
                ('swapped', models.CharField(blank=True, help_text="side it chose, the first run's answer on the right", max_length=5)),
                ('prompt_tokens', models.PositiveIntegerField(help_text='of both; null: nobody counted', null=True)),
                ('answer_tokens', models.PositiveIntegerField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('pair', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.answerpair')),
                ('judge_run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='preferences', to='training.judgerun')),
            ],
            options={
                'ordering': ['pk'],
                'constraints': [models.UniqueConstraint(fields=('judge_run', 'pair'), name='a_judge_says_of_a_pair_once'), models.CheckConstraint(condition=models.Q(('as_it_is__in', ['left', 'right', '']), ('swapped__in', ['left', 'right', ''])), name='a_judge_chooses_a_side_or_cannot_be_read')],
            },
        ),
        migrations.AddConstraint(
            model_name='pairwiseevaluation',
            constraint=models.UniqueConstraint(fields=('first', 'second'), name='two_evaluations_are_judged_in_pairs_once'),
        ),
        migrations.AddConstraint(
            model_name='pairwiseevaluation',
            constraint=models.CheckConstraint(condition=models.Q(('first__lt', models.F('second'))), name='the_earlier_evaluation_of_a_pair_is_first'),
        ),
        migrations.AddConstraint(
            model_name='answerpair',
            constraint=models.UniqueConstraint(fields=('pairwise', 'position'), name='pairs_are_asked_in_one_order'),
        ),
        migrations.AddConstraint(
            model_name='answerpair',
            constraint=models.UniqueConstraint(fields=('pairwise', 'example'), name='an_example_is_one_pair'),
        ),
        migrations.AddConstraint(
            model_name='answerpair',
            constraint=models.CheckConstraint(condition=models.Q(('settled', None), ('settled__in', [0, 0.5, 1]), _connector='OR'), name='a_settled_pair_is_won_lost_or_tied'),
        ),
        forbid_change("training_pairwiseevaluation", "training_answerpair", "training_humanpreference",
                      "training_judgerun", "training_judgepreference"),
    ]
