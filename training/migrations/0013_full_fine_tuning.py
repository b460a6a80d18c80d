from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0012_evaluations")]
    operations = [  # choices only: no table changes, so the rules that protect it stay
        migrations.AlterField(
            model_name="run", name="kind", field=models.CharField(max_length=10, choices=[
                ("zero_shot", "Prompt, zero-shot"), ("defined", "Prompt with definitions"),
                ("few_shot", "Prompt with examples"), ("nearest", "Prompt with nearest examples"),
                ("by_hand", "Prompt by hand"), ("probe", "Linear probe on embeddings, no LLM"), ("lora", "LoRA"),
                ("full", "Full fine-tuning"), ("dpo", "DPO")])),
    ]
