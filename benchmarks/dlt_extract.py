"""The same landing by dlt, as its documentation shows it, with its fast backend; needs dlt, SQLAlchemy and pyarrow.

Usage: python benchmarks/dlt_extract.py SQLITE_PATH POSTGRES_URI WORKING_DIRECTORY

It imports nothing of the project, so that dlt can live in an environment of its own.
"""

import sys

import dlt
from dlt.sources.sql_database import sql_database


def land(sqlite_path: str, postgres_uri: str, directory: str) -> None:
    """Copy every table into `staging`."""
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.postgres(postgres_uri),
        dataset_name="staging",
        pipelines_dir=directory,
    )
    pipeline.run(sql_database(f"sqlite:///{sqlite_path}", backend="pyarrow"), write_disposition="replace")


if __name__ == "__main__":
    land(*sys.argv[1:])
