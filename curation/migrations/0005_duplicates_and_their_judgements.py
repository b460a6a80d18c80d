import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from projects.immutable import forbid_change


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0004_labels_of_every_task_type'),
        ('jobs', '0001_initial'),
        ('labeling', '0007_desks_are_read_from_their_cursor'),
        ('projects', '0005_a_metric_per_task_type'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DuplicateAction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('members_sha256', models.CharField(max_length=64)),
                ('verdict', models.CharField(choices=[('keep_one', 'keep one'), ('keep_all', 'keep all: they are different'), ('merge', 'give all the same label')], max_length=8)),
                ('decisions', models.JSONField(default=list, help_text='ids of the decisions that it wrote, or took back')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('decided_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('job', models.ForeignKey(help_text='that did this to many clusters at once', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job')),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='projects.project')),
                ('undoes', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.duplicateaction')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='DuplicateCluster',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('place', models.PositiveIntegerField(help_text='leaks first, then conflicts, the most urgent first; from 0')),
                ('what', models.CharField(choices=[('leak', 'in two splits'), ('conflict', 'labels differ'), ('other', 'repeats')], max_length=8)),
                ('kind', models.CharField(choices=[('exact', 'the same text'), ('lexical', 'nearly the same words'), ('semantic', 'other words')], max_length=8)),
                ('size', models.PositiveIntegerField()),
                ('n_held_out', models.PositiveIntegerField()),
                ('n_to_exclude', models.PositiveIntegerField(help_text='how many go if one is kept')),
                ('similarity', models.FloatField(help_text='cosine of its least similar member to the centre')),
                ('n_labels', models.PositiveIntegerField(help_text='different labels among its pool members')),
                ('urgency', models.FloatField(help_text='size times the entropy of its labels in bits')),
                ('members_sha256', models.CharField(help_text='of its members, by which later reports know it again', max_length=64)),
                ('action', models.ForeignKey(help_text='what a curator did about it, unless that was taken back', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.duplicateaction')),
                ('centre', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='labeling.example')),
                ('report', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='duplicate_clusters', to='curation.qualityreport')),
            ],
            options={
                'ordering': ['place'],
            },
        ),
        migrations.AddField(
            model_name='duplicateaction',
            name='cluster',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='curation.duplicatecluster'),
        ),
        migrations.CreateModel(
            name='DuplicateMember',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('similarity', models.FloatField()),
                ('kind', models.CharField(choices=[('exact', 'the same text'), ('lexical', 'nearly the same words'), ('semantic', 'other words')], max_length=8)),
                ('cluster', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='members', to='curation.duplicatecluster')),
                ('example', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='labeling.example')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='PairJudgement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('similarity', models.FloatField(help_text='their cosine by the encoder')),
                ('encoder', models.CharField(max_length=120)),
                ('answer', models.CharField(choices=[('same', 'the same'), ('different', 'not the same'), ('open', 'taken back')], max_length=9)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('example_a', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='labeling.example')),
                ('example_b', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='labeling.example')),
                ('judged_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='projects.project')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.CreateModel(
            name='PairToJudge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('place', models.PositiveIntegerField(help_text='in which they are asked, from 0: all cosines in turn')),
                ('similarity', models.FloatField()),
                ('example_a', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='labeling.example')),
                ('example_b', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='labeling.example')),
                ('report', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='pairs_to_judge', to='curation.qualityreport')),
            ],
            options={
                'ordering': ['place'],
            },
        ),
        migrations.AddIndex(
            model_name='duplicatecluster',
            index=models.Index(condition=models.Q(('action__isnull', True)), fields=['report', 'place'], name='duplicates_left'),
        ),
        migrations.AddIndex(
            model_name='duplicatecluster',
            index=models.Index(condition=models.Q(('action__isnull', True)), fields=['report', 'what', 'place'], name='duplicates_left_by_what'),
        ),
        migrations.AddConstraint(
            model_name='duplicatecluster',
            constraint=models.UniqueConstraint(fields=('report', 'place'), name='one_duplicate_cluster_per_report_and_place'),
        ),
        migrations.AddConstraint(
            model_name='duplicatecluster',
            constraint=models.CheckConstraint(condition=models.Q(('size__gte', 2)), name='duplicate_cluster_has_at_least_two_members'),
        ),
        migrations.AddIndex(
            model_name='duplicateaction',
            index=models.Index(fields=['project', 'members_sha256'], name='duplicate_action_of_cluster'),
        ),
        migrations.AddConstraint(
            model_name='duplicatemember',
            constraint=models.UniqueConstraint(fields=('cluster', 'example'), name='one_membership_per_cluster_and_example'),
        ),
        migrations.AddIndex(
            model_name='pairjudgement',
            index=models.Index(fields=['project', 'example_a', 'example_b'], name='pair_judgement_latest'),
        ),
        migrations.AddConstraint(
            model_name='pairjudgement',
            constraint=models.CheckConstraint(condition=models.Q(('example_a__lt', models.F('example_b'))), name='judged_pair_has_its_earlier_example_first'),
        ),
        migrations.AddConstraint(
            model_name='pairtojudge',
            constraint=models.UniqueConstraint(fields=('report', 'place'), name='one_pair_per_report_and_place'),
        ),
        forbid_change("curation_duplicateaction", "curation_pairjudgement"),
    ]
