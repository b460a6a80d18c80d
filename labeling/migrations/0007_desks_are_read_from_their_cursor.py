from datetime import timedelta

from django.db import migrations, models
from django.db.models import F


def move_back(apps, schema_editor):
    """The cursor stood at the newest stamp seen, and two minutes before it were read again; now it includes them."""
    apps.get_model("labeling", "Desk").objects.filter(cursor__isnull=False).update(
        cursor=F("cursor") - timedelta(seconds=120))


class Migration(migrations.Migration):

    dependencies = [
        ('labeling', '0006_ended_assignments_are_found_by_time'),
    ]

    operations = [
        migrations.AlterField(
            model_name='desk',
            name='cursor',
            field=models.DateTimeField(help_text='everything touched before it has been pulled', null=True),
        ),
        migrations.RunPython(move_back, migrations.RunPython.noop),
    ]
