"""Opens Optuna's database for use by several machines at once."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

ATTEMPTS = 8  # to create the tables
PATIENCE_S = 60  # to wait for another process that uses an SQLite file


def opened(address: str) -> RDBStorage:
    """Open the database at an SQLAlchemy address and create Optuna's tables if they are missing.

    Raises:
        Exception: of the database's driver.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _opened(address)
        except Exception as error:
            if attempt == ATTEMPTS or not _made_meanwhile(error):
                raise
        time.sleep(random.uniform(0.1, 0.5))  # so that machines do not try again at the same time
    raise AssertionError


def _opened(address: str) -> RDBStorage:
    import optuna
    import sqlalchemy

    if not address.startswith("sqlite"):
        return optuna.storages.RDBStorage(address)
    # Optuna reads a trial, then changes it, and relies on a lock of its row in between. SQLite has no such locks, so each
    # transaction locks the whole file from its beginning.
    waiting = {"timeout": PATIENCE_S, "isolation_level": None}
    storage = optuna.storages.RDBStorage(address, engine_kwargs={"connect_args": waiting})

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(storage.engine, "begin", begin)
    return storage


def _made_meanwhile(error: BaseException | None) -> bool:
    """Whether the error means that another machine has just created the same table or row."""
    import sqlalchemy

    while error is not None:
        if isinstance(error, sqlalchemy.exc.IntegrityError) or "already exist" in str(error).lower():
            return True
        error = error.__cause__
    return False
