import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("functions", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="TestEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("name", models.CharField(max_length=64)),
                ("payload", models.TextField()),
                ("author", models.CharField(max_length=150)),
                ("function", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="test_events", to="functions.function")),
            ],
        ),
        migrations.AddConstraint(
            model_name="testevent",
            constraint=models.UniqueConstraint(fields=("function", "name"), name="test_event_function_name"),
        ),
    ]
