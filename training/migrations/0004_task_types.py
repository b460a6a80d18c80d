from django.db import migrations, models

from projects.immutable import forbid_change


class Migration(migrations.Migration):

    dependencies = [("training", "0003_arms_learned_by_lora")]
    operations = [
        migrations.AddField(
            model_name='evaluation',
            name='metric',
            field=models.CharField(choices=[('accuracy', 'accuracy'), ('macro_f1', 'macro-F1'), ('field_f1', 'field F1'), ('strict_f1', 'span F1'), ('rouge_l', 'ROUGE-L')], default='accuracy', help_text='which of the metrics the run is judged by', max_length=20),
        ),
        migrations.AlterField(
            model_name='evaluation',
            name='n_right',
            field=models.PositiveIntegerField(help_text='where an answer is right or wrong as a whole', null=True),
        ),
        migrations.AlterField(
            model_name='evaluation',
            name='metrics',
            field=models.JSONField(help_text='every metric by its name with its interval, per label, what was not readable'),
        ),
        migrations.AlterField(
            model_name='evaluation',
            name='predictions_sha256',
            field=models.CharField(help_text='JSONL of key, gold, predicted, score, probability', max_length=64),
        ),
        forbid_change("training_evaluation"),
    ]
