"""Tables that are made and dropped all the while: the catalog changes as fast as clients can."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Final, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from quorate.local.topology import HOST

THREADS: Final = 2
"""Each makes a table and drops it, one after the other. Ours."""


class TableChurn:
    """Makes and drops tables from `with` to its end, whatever becomes of single calls."""

    def __init__(self, port: int, *, prefix: str = "churn") -> None:
        """Ask the router at this port, or a gateway to several."""
        self.made = 0  # tables, so far
        self._port = port
        self._prefix = prefix
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(THREADS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, thread: int) -> None:
        client = _client(self._port)
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"{self._prefix}-{thread}-{number}"
            if _was_done(lambda: _create(client, name)):  # noqa: B023 - called at once
                self.made += 1
            while not self._stop.is_set():  # what stays would make every catalog larger
                if _was_done(lambda: client.delete_table(TableName=name)):  # noqa: B023
                    break
        client.close()


def _client(port: int) -> Any:  # noqa: ANN401  (boto3 makes its classes as it runs)
    return boto3.client(
        "dynamodb",
        endpoint_url=f"http://{HOST}:{port}",
        region_name="local",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=5),
    )


def _create(client: Any, name: str) -> None:  # noqa: ANN401
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def _was_done(call: Any) -> bool:  # noqa: ANN401
    """Whether a call was answered for good: "there is no such table" is an answer, too."""
    try:
        call()
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 400)
    except BotoCoreError:
        return False
    return True
