"""Fixtures of the trades' tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from extract.schema import prepare
from extract.settings import Settings
from extract.warehouse import Warehouse
from tests.conftest import Server
from tests.support.dbt_in_process import DbtInProcess
from tests.support.trade_house import House


@pytest.fixture(scope="module")
def built_house(server: Server) -> Iterator[House]:
    uri = server.fresh_database("template1")
    warehouse = Warehouse(uri, embedded=False)
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        prepare(warehouse, connection, None)
        settings = Settings(tradehouse_home=server.directory / "trades")
        house = House(connection, DbtInProcess(settings, warehouse))
        house.build()
        yield house


@pytest.fixture
def house(built_house: House) -> House:
    built_house.empty()
    return built_house
