from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from projects.immutable import forbid_change

SEEN = "2026-11-26"  # the day on which this table was written, nobody's offer
PRICES = [  # a start for the table; every row says where it is from, and that it wants checking
    {"kind": "machine", "name": "H100 80 GB, rented", "per_hour": 2.95, "memory_gb": 80, "teraflops": 989,
     "since": SEEN, "source": "seen in rental lists, undated; check before you rely on it"},
    {"kind": "machine", "name": "A100 80 GB, rented", "per_hour": 1.39, "memory_gb": 80, "teraflops": 312,
     "since": SEEN, "source": "seen in rental lists, undated; check before you rely on it"},
    {"kind": "machine", "name": "RTX 4090 24 GB, rented", "per_hour": 0.34, "memory_gb": 24, "teraflops": 165,
     "since": SEEN, "source": "seen in rental lists, undated; check before you rely on it"},
    {"kind": "tokens", "name": "GPT-4o mini", "per_million_in": 0.15, "per_million_out": 0.60,
     "since": "2024-07-18", "source": "its announcement; check before you rely on it"},
]


def add_prices(apps: Any, editor: Any) -> None:
    price = apps.get_model("training", "Price")
    price.objects.bulk_create(price(**row) for row in PRICES)


class Migration(migrations.Migration):

    dependencies = [
        ("training", "0004_task_types"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("curation", "0010_maps"),
        ("jobs", "0001_initial"),
        ("projects", "0005_a_metric_per_task_type"),
    ]

    operations = [
        migrations.CreateModel(
            name='Price',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('machine', 'Machine or GPU, per hour'), ('tokens', "Model's tokens, per million")], max_length=7)),
                ('name', models.CharField(max_length=80)),
                ('currency', models.CharField(default='USD', max_length=3)),
                ('per_hour', models.FloatField(blank=True, help_text='of a machine', null=True)),
                ('memory_gb', models.FloatField(blank=True, help_text='of its GPU, 1e9 bytes', null=True)),
                ('teraflops', models.FloatField(blank=True, help_text='peak of its GPU in 16 bits, dense', null=True)),
                ('per_million_in', models.FloatField(blank=True, help_text='tokens read', null=True)),
                ('per_million_out', models.FloatField(blank=True, help_text='tokens written', null=True)),
                ('since', models.DateField(help_text='the day from which it holds, or on which it was seen')),
                ('source', models.CharField(help_text='where it stands', max_length=200)),
                ('is_withdrawn', models.BooleanField(default=False, help_text='no longer to be reckoned with')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['kind', 'name', '-pk'],
            },
        ),
        migrations.CreateModel(
            name='ProjectEconomics',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('currency', models.CharField(default='USD', max_length=3)),
                ('requests', models.FloatField(blank=True, help_text='a month, the likeliest', null=True)),
                ('requests_low', models.FloatField(blank=True, null=True)),
                ('requests_high', models.FloatField(blank=True, null=True)),
                ('months', models.FloatField(blank=True, help_text='that a trained model would be used', null=True)),
                ('value', models.FloatField(blank=True, help_text='of a right answer in place of a wrong one', null=True)),
                ('value_low', models.FloatField(blank=True, null=True)),
                ('value_high', models.FloatField(blank=True, null=True)),
                ('realised', models.FloatField(blank=True, help_text='share of the benefit that arrives', null=True)),
                ('realised_low', models.FloatField(blank=True, null=True)),
                ('realised_high', models.FloatField(blank=True, null=True)),
                ('tokens_in', models.FloatField(blank=True, help_text='read for an answer by the prompt', null=True)),
                ('tokens_out', models.FloatField(blank=True, help_text='written for an answer', null=True)),
                ('trained_tokens_in', models.FloatField(blank=True, help_text='read for an answer by the trained model', null=True)),
                ('cached_share', models.FloatField(blank=True, help_text='of the tokens read that come from a cache', null=True)),
                ('cached_discount', models.FloatField(blank=True, help_text='by which those are cheaper', null=True)),
                ('hosting', models.FloatField(blank=True, help_text='of the trained model, a month', null=True)),
                ('retrainings', models.FloatField(blank=True, help_text='a year', null=True)),
                ('label_price', models.FloatField(blank=True, help_text='of one label; measured times wage if not said', null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('machine', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.price')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='economics', to='projects.project')),
                ('prompt_price', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.price')),
                ('trained_price', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.price')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Quote',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('config', models.JSONField(help_text='of the run: prompt and training')),
                ('config_sha256', models.CharField(help_text='of base model, snapshot and config', max_length=64)),
                ('seconds', models.FloatField(help_text='of the whole run on the clock, all attempts')),
                ('seconds_low', models.FloatField(help_text='steps as at their tenth percentile')),
                ('seconds_high', models.FloatField(help_text='steps as at their ninetieth percentile')),
                ('cpu_seconds', models.FloatField()),
                ('peak_mb', models.FloatField()),
                ('n_steps', models.PositiveIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('money', models.FloatField(help_text="seconds at the machine's price; null where none is said", null=True)),
                ('cap_seconds', models.FloatField(help_text='at which a run stops unless somebody says otherwise')),
                ('labour', models.JSONField(help_text="labels of the snapshot's train rows: how many, hours, money")),
                ('trial', models.JSONField(help_text='what was measured, step by step')),
                ('elsewhere', models.JSONField(help_text='on which GPU of the price table it fits, and how')),
                ('words', models.JSONField(help_text='two sentences: what it takes, and what stops it')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.job')),
                ('machine', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.price')),
                ('snapshot', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='quotes', to='curation.snapshot')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Cap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seconds', models.FloatField()),
                ('money', models.FloatField(help_text="as it was said in money, at the machine's price", null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='caps', to='training.run')),
                ('quote', models.ForeignKey(help_text='null for a run on another machine, about which a trial here says nothing', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='caps', to='training.quote')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Receipt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seconds', models.FloatField(help_text='on the clock, all attempts')),
                ('cpu_seconds', models.FloatField()),
                ('peak_mb', models.FloatField()),
                ('money', models.FloatField(null=True)),
                ('steps', models.PositiveIntegerField()),
                ('is_whole', models.BooleanField(help_text="it ended by itself, not at its cap or at somebody's word")),
                ('found', models.JSONField(help_text='where it stopped, and what was best by then')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('quote', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='receipts', to='training.quote')),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='receipts', to='training.run')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='Weighing',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('outcome', models.CharField(choices=[('PROMPT_OK', 'The prompt is good enough'), ('FINE_TUNE', 'The prompt cannot reach the target'), ('INCONCLUSIVE', 'Not settled by this many rows')], max_length=12)),
                ('words', models.JSONField(help_text="sentences behind the verdict's own")),
                ('next_step', models.TextField()),
                ('ceiling', models.JSONField(help_text='how often one person agrees with the others', null=True)),
                ('found', models.JSONField(help_text='gain and worth with their ranges')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('economics', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.projecteconomics')),
                ('quote', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='training.quote')),
                ('verdict', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='weighings', to='training.verdict')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.AddConstraint(
            model_name='price',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'machine'), ('per_hour__gte', 0)), models.Q(('kind', 'tokens'), ('per_million_in__gte', 0), ('per_million_out__gte', 0)), _connector='OR'), name='a_price_says_what_its_kind_costs'),
        ),
        migrations.AddConstraint(
            model_name='quote',
            constraint=models.CheckConstraint(condition=models.Q(('seconds_low__lte', models.F('seconds')), ('seconds__lte', models.F('seconds_high'))), name='a_quote_lies_in_its_range'),
        ),
        migrations.AddConstraint(
            model_name='quote',
            constraint=models.CheckConstraint(condition=models.Q(('cap_seconds__gt', 0)), name='a_quote_has_a_cap'),
        ),
        migrations.AddConstraint(
            model_name='cap',
            constraint=models.CheckConstraint(condition=models.Q(('seconds__gt', 0)), name='a_cap_is_above_nothing'),
        ),
        migrations.RunPython(add_prices, migrations.RunPython.noop),
        forbid_change("training_price", "training_projecteconomics", "training_quote", "training_cap",
                      "training_receipt", "training_weighing"),
    ]
