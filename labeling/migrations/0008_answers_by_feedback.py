from django.db import migrations, models


class Migration(migrations.Migration):
    """Only what Django knows of the field: the column stays as it is."""

    dependencies = [("labeling", "0007_desks_are_read_from_their_cursor")]
    operations = [
        migrations.AlterField(
            model_name="annotation", name="source",
            field=models.CharField(choices=[("file", "File"), ("label_studio", "Label Studio"),
                                            ("feedback", "feedback on a model's answer")], max_length=12)),
    ]
