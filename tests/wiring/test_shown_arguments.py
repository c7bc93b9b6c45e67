"""`celery call fetch_episode --args '["https://user:password@…"]'`: no event, no inspection and no log shows that."""

import json
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from podinsight.adapters.celery_queue import celery_config
from tests.support.stack import Stack, running_stack, wait_for
from workers import app
from workers.shown import ShownRequest, shown

URL = "http://user:s3cret@127.0.0.1:9/x.mp3?token=s3cret&n=1"
SHOWN = "http://127.0.0.1:9/x.mp3?token=***&n=1"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([URL], [SHOWN]),
        ((URL, 3, None), [SHOWN, 3, None]),
        ({"url": [f"see {URL}"]}, {"url": [f"see {SHOWN}"]}),
        ([URL.replace("&n=1", "&n=a b&key=s3cret")], [SHOWN.replace("&n=1", "&n=a b&key=***")]),
        (["6c62b0d97b3608117d16"], ["6c62b0d97b3608117d16"]),
    ],
)
def test_arguments_are_shown_without_secrets(value: object, said: object) -> None:
    assert shown(value) == said


def test_every_task_of_ours_has_the_request_that_hides() -> None:
    app.loader.import_default_modules()
    assert {task.Request for name, task in app.tasks.items() if not name.startswith("celery.")} == {
        f"{ShownRequest.__module__}:{ShownRequest.__qualname__}"
    }


def test_a_request_shows_them_nowhere_and_hands_them_on_as_they_are() -> None:
    app.loader.import_default_modules()
    sent = app.amqp.as_task_v2("1", "fetch_episode", args=[URL], kwargs={"episode_or_url": URL})
    assert "s3cret" in sent.headers["argsrepr"], "of a sender who hides nothing"
    message = SimpleNamespace(
        headers=sent.headers, body=None, payload=sent.body, delivery_info={}, properties={},
        content_type="application/json", content_encoding="utf-8",
    )  # fmt: skip
    request = ShownRequest(message, app=app, task=app.tasks["fetch_episode"])
    for told in (request.info(), request.info(safe=True), repr(request), request.argsrepr, request.kwargsrepr):
        assert "s3cret" not in str(told)
        assert SHOWN in str(told)
    assert (request.args, request.kwargs) == ([URL], {"episode_or_url": URL})
    assert request.request_dict["args"] == [URL]
    assert "s3cret" not in request.request_dict["argsrepr"] + request.request_dict["kwargsrepr"]


def test_neither_events_nor_logs_of_a_stack_show_a_secret(tmp_path: Path) -> None:
    with running_stack(tmp_path) as stack:
        looker = Celery(set_as_current=False)
        looker.conf.update(celery_config(stack.settings.redis_url, 60.0))
        events: list[dict[str, Any]] = []
        receiver = looker.events.Receiver(looker.connection_for_read(), handlers={"*": events.append})
        with receiver.consumer_context() as (connection, _channel, _consumers):

            def seen(**wanted: str) -> list[dict[str, Any]]:
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.2)
                return [each for each in events if wanted.items() <= each.items()]

            wait_for(seen, 20, "any event: only then those of our own are not missed")
            for option, value in (("--args", [URL]), ("--kwargs", {"episode_or_url": URL})):
                task_id = called(stack, option, json.dumps(value))
                for kind in ("task-sent", "task-received", "task-failed"):
                    wait_for(partial(seen, uuid=task_id, type=kind), 30, f"{kind} of {option}")
                for kind in ("task-sent", "task-received"):
                    (event,) = seen(uuid=task_id, type=kind)
                    assert SHOWN in event["args"] + event["kwargs"]
        assert "s3cret" not in json.dumps(events, default=str)
        logs = list((stack.settings.state_dir / "logs").glob("*.log"))
        assert logs
        assert not [each.name for each in logs if "s3cret" in each.read_text(errors="replace")]


def called(stack: Stack, *words: str) -> str:
    """The id of the task that `celery call fetch_episode` sent."""
    command = [sys.executable, "-m", "celery", "-A", "workers", "call", "fetch_episode", *words]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=stack.environ, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
