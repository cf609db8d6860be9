"""Optuna's database as several machines use it at once."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

ATTEMPTS = 8  # to make the tables
PATIENCE_S = 60  # for another process to be done with an SQLite file


def opened(address: str) -> RDBStorage:
    """The database of an SQLAlchemy address, with Optuna's tables in it.

    Raises:
        Exception: whatever the database's driver raises.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _opened(address)
        except Exception as error:
            if attempt == ATTEMPTS or not _made_meanwhile(error):
                raise
        time.sleep(random.uniform(0.1, 0.5))  # not all machines again at once
    raise AssertionError


def _opened(address: str) -> RDBStorage:
    import optuna
    import sqlalchemy

    if not address.startswith("sqlite"):
        return optuna.storages.RDBStorage(address)
    # Optuna reads a trial and then changes it, and relies on the row being locked in between, which SQLite does not know:
    # there every transaction has the file to itself from its beginning
    waiting = {"timeout": PATIENCE_S, "isolation_level": None}
    storage = optuna.storages.RDBStorage(address, engine_kwargs={"connect_args": waiting})

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(storage.engine, "begin", begin)
    return storage


def _made_meanwhile(error: BaseException | None) -> bool:
    """Whether the error is that a table or row exists already: another machine that begins at the same time has made it."""
    import sqlalchemy

    while error is not None:
        if isinstance(error, sqlalchemy.exc.IntegrityError) or "already exist" in str(error).lower():
            return True
        error = error.__cause__
    return False
