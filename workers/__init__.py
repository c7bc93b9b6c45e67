"""`celery -A workers …`: the app and its tasks."""

from workers.app import app
from workers.app import app as celery

__all__ = ["app", "celery"]
