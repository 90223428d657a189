"""`GET /health/`: 200 when all that VISA needs is alive, 503 with what is missing, in words."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from redis.exceptions import RedisError

from instances import alive

PROCESSES = {"worker": "The worker", "beat": "The clock (beat)", "observer": "The observer of the hosts"}
SEEN_WITHIN = 15.0  # seconds
PATIENCE = 1.0  # seconds for each part

# Threads of its own: a database or Redis that hangs blocks these and no page.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health")


@never_cache
async def health(request: HttpRequest) -> JsonResponse:
    """Asks database and Redis at the same time, each for at most a second. Writes nothing and needs no session."""
    answers = await asyncio.gather(
        _within_patience(_database, "The database did not answer within a second."),
        _within_patience(_redis, "Redis did not answer within a second."),
    )
    missing = [sentence for answer in answers for sentence in answer]
    return JsonResponse({"healthy": not missing, "missing": missing}, status=503 if missing else 200)


async def _within_patience(question: Callable[[], list[str]], too_late: str) -> list[str]:
    answer = asyncio.get_running_loop().run_in_executor(_threads, question)
    try:
        return await asyncio.wait_for(answer, PATIENCE)
    except TimeoutError:
        return [too_late]


def _database() -> list[str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()
    except DatabaseError:
        return ["The database does not answer."]
    finally:
        connection.close()
    return []


def _redis() -> list[str]:
    try:
        ages = {name: alive.age(name) for name in PROCESSES}
    except (RedisError, OSError):
        return ["Redis does not answer, so nothing is known of worker, beat and observer."]
    return [_absent(name, seen) for name, seen in ages.items() if seen is None or seen > SEEN_WITHIN]


def _absent(name: str, seen: float | None) -> str:
    since = "was not seen within the last hour" if seen is None else f"was last seen {seen:.0f} seconds ago"
    return f"{PROCESSES[name]} {since}."
