"""Words bound to a gate; how long approvals may take; which secret signs; breaches in a row."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0001_initial'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='approval',
            name='approval_once',
        ),
        migrations.AddField(
            model_name='approval',
            name='gate',
            field=models.CharField(default='1/start', max_length=32),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='environment',
            name='approval_seconds',
            field=models.PositiveIntegerField(default=604800),
        ),
        migrations.AddField(
            model_name='environment',
            name='secret_generation',
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AddField(
            model_name='sourcereading',
            name='breaches',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='sourcereading',
            name='due_at',
            field=models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='effect',
            name='kind',
            field=models.CharField(help_text='"hook.<kind>", "notify.webhook", ".slack" or ".email"', max_length=40),
        ),
        migrations.AddConstraint(
            model_name='approval',
            constraint=models.UniqueConstraint(fields=('deployment', 'gate', 'actor'), name='approval_once'),
        ),
    ]
