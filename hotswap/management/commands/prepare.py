"""`manage.py prepare`: what has to be there before the processes start, in one go.

One command instead of four, because every start of Django costs a second. The last line it
prints is JSON: `password` of the first admin when it was made now, `token` when a new one was.
"""

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from hotswap.access import scopes, services
from hotswap.access.models import PersonalAccessToken
from hotswap.core import clock

ADMIN = "admin"
TOKEN_NAME = "bin/up"


class Command(BaseCommand):
    """Bring database and static files up to date; make the first admin and its token."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--token-sha256", default="", help="of the token in use, if any")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        _collect_static()
        admin, password = _first_admin()
        token = _token(admin, options["token_sha256"])
        self.stdout.write(json.dumps({"password": password, "token": token}))


def _first_admin() -> tuple[User, str | None]:
    """The oldest active superuser; one with a new password where there is none."""
    existing = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if existing is not None:
        return existing, None
    password = secrets.token_urlsafe(12)
    return User.objects.create_superuser(ADMIN, password=password), password


def _token(admin: User, sha256: str) -> str | None:
    """A new token for bin/up; None when the one it has still works."""
    known = PersonalAccessToken.objects.filter(name=TOKEN_NAME, user=admin)
    if known.filter(sha256=sha256, expires_at=None).exists():
        return None
    now = clock.utc_now()
    for lost in known:
        services.personal_token_revoke(user=admin, token_id=lost.pk, now=now)
    issued = services.personal_token_create(
        user=admin, name=TOKEN_NAME, wanted=scopes.ALL, expires_at=None, now=now
    )
    return issued.plain


def _collect_static() -> None:
    """Collect static files, unless none changed since the last time."""
    target = Path(settings.STATIC_ROOT)
    note = target / ".collected"
    fingerprint = _fingerprint()
    if note.exists() and note.read_text() == fingerprint:
        return
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    note.write_text(fingerprint)


def _fingerprint() -> str:
    """Changes with every file of ours and with every package."""
    digest = hashlib.sha256((settings.BASE_DIR / "requirements.lock").read_bytes())
    for folder in settings.STATICFILES_DIRS:
        for path in sorted(Path(folder).rglob("*")):
            facts = path.stat()
            digest.update(f"{path} {facts.st_mtime_ns} {facts.st_size}\n".encode())
    return digest.hexdigest()
