"""django-oauth-toolkit on SQLite under gunicorn: refresh tokens rotate, and it looks for their reuse."""

import datetime
import json
import os
import sys
import uuid
from pathlib import Path

import django
from django.conf import settings
from django.urls import include, path

HERE = Path(__file__)
settings.configure(
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=HERE.stem,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    USE_TZ=True,
    MIDDLEWARE=[],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    OAUTH2_PROVIDER={
        "SCOPES": {"read": "Read", "introspection": "Ask about tokens"},
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
    },
)
django.setup()
urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]


def main(port: str, seeds: int) -> None:
    """Issue tokens, then become the server."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    call_command("migrate", verbosity=0)
    user = User.objects.create(username="alice")
    client = Application.objects.create(
        client_id="bench",
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris="http://127.0.0.1:33418/callback",
        user=user,
    )
    common = {"user": user, "application": client}
    expires = timezone.now() + datetime.timedelta(days=1)
    for number in range(seeds):
        access = AccessToken.objects.create(
            token=f"access{number}", expires=expires, scope="read introspection", **common
        )
        RefreshToken.objects.create(
            token=f"refresh{number}", access_token=access, token_family=uuid.uuid4(), **common
        )
    refresh = [f"refresh{number}" for number in range(seeds)]
    print(json.dumps({"client": "bench", "access": "access0", "refresh": refresh}), flush=True)
    os.chdir(HERE.parent)
    words = ["-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-w", "1", "-k", "gthread", "--threads", "4"]
    os.execv(sys.executable, [sys.executable, *words, "django_toolkit:application"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
else:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
