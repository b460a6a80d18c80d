import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from projects.immutable import Blanking, forbid_change_but


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0009_snapshot_checks_comments_and_tombstones'),
        ('projects', '0005_a_metric_per_task_type'),
        ('training', '0005_quotes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='run',
            name='kind',
            field=models.CharField(choices=[('zero_shot', 'Prompt, zero-shot'), ('defined', 'Prompt with definitions'), ('few_shot', 'Prompt with examples'), ('nearest', 'Prompt with nearest examples'), ('by_hand', 'Prompt by hand'), ('probe', 'Linear probe on embeddings, no LLM'), ('lora', 'LoRA')], max_length=10),
        ),
        migrations.CreateModel(
            name='CachedAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('request_sha256', models.CharField(help_text='of address, model, messages and parameters', max_length=64)),
                ('answer', models.TextField()),
                ('prompt_tokens', models.PositiveIntegerField(help_text='null: the endpoint did not say', null=True)),
                ('answer_tokens', models.PositiveIntegerField(null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='projects.project')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('project', 'request_sha256'), name='a_request_is_cached_once_per_project')],
            },
        ),
        migrations.CreateModel(
            name='PromptVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('version', models.PositiveIntegerField()),
                ('content', models.JSONField(help_text='{"words": {"system": …, "instruction": …}, "examples": one of Examples}')),
                ('note', models.CharField(help_text='what changed, and why', max_length=500)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='prompt_versions', to='projects.project')),
            ],
            options={
                'ordering': ['-pk'],
                'constraints': [models.UniqueConstraint(fields=('project', 'name', 'version'), name='versions_of_a_prompt_are_numbered')],
            },
        ),
        # A text that somebody quoted in it was erased: see training.services.quoting.
        forbid_change_but("training_promptversion", Blanking(
            {}, "EXISTS (SELECT 1 FROM curation_erasure WHERE curation_erasure.project_id = OLD.project_id)",
            inside={"content": ("words",)})),
    ]
