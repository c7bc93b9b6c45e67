"""What is done to a running stack at random."""

import os
import signal

import redis

from tests.support.stack import Stack


def strike(stack: Stack, role: str) -> int:
    """Kills every process of a role, or empties the broker (`FLUSHALL`); returns how many were hit."""
    if role == "FLUSHALL":
        try:
            redis.Redis.from_url(stack.settings.redis_url, socket_timeout=2).flushall()
        except redis.RedisError:
            return 0
        return 1
    hit = 0
    for pid in stack.pids(role):
        try:
            os.kill(pid, signal.SIGKILL)
            hit += 1
        except ProcessLookupError:
            continue
    return hit
