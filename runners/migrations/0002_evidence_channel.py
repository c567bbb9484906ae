"""Evidence of rollouts is a channel of reports, too."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runners', '0001_initial'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='reportseen',
            name='report_seen_channel',
        ),
        migrations.AddConstraint(
            model_name='reportseen',
            constraint=models.CheckConstraint(condition=models.Q(('channel__in', ['calls', 'evidence', 'logs'])), name='report_seen_channel'),
        ),
    ]
