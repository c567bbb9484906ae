"""The database's clock: the only one that deadlines and windows are measured by."""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """The moment at which this statement began, aware UTC."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment
