"""A storage's own tests on servers that others run, and on that of the Python package."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import effort
import engines
import pytest
from counting import Count
from engines import postgresql, redis
from ports import free_port
from test_projects import own_tests_pass


@contextmanager
def running_postgresql(programs: Path, folder: Path) -> Iterator[str]:
    with closing(postgresql.OwnServer(programs, folder)) as server:
        server.start()
        yield server.url


@contextmanager
def running_redis(program: str, folder: Path) -> Iterator[str]:
    port = free_port()
    with closing(redis.RedisEngine(folder, program=program, configuration={"port": str(port)})) as server:
        server.start()
        with server.client() as client:
            client.config_set("requirepass", "pass/word")
        yield f"redis://:pass%2Fword@127.0.0.1:{port}/1"


SERVERS: dict[str, tuple[Any, Callable[[Any, Path], AbstractContextManager[str]]]] = {
    "postgresql": (postgresql, running_postgresql),
    "redis": (redis, running_redis),
}
CHOSEN = {
    "packaged": ["storage"],
    "installed": [
        "storage",
        *(f"test_{name}.py" for name in ("storage_{storage}", "flow", "secrets", "backup")),
    ],
}


@effort.release
@effort.early
@pytest.mark.parametrize("where", CHOSEN)
def test_a_storage_passes_its_tests_on_a_server_that_is_not_theirs(
    shared_project: Path,
    shared_storage: str,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Count,
) -> None:
    """By TCP, with a password: the server of the machine, as if others ran it, and that of the package."""
    engine, running = SERVERS[shared_storage]
    program = getattr(engine, where)()
    if program is None:
        complain = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        complain(f"no {where} server of {shared_storage}")
    chosen = [f"tests/authserver/{name.format(storage=shared_storage)}" for name in CHOSEN[where]]
    with engines.scratch() as folder, running(program, folder) as url:
        monkeypatch.setenv("TEST_STORAGE_URL", url)
        own_tests_pass(shared_project, tmp_path, record_property, *chosen)
