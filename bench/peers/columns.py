"""DuckDB, Polars and pyarrow on columns: columns.py WHAT IN THREADS [OUT]."""

import sys

import say

what, source, threads, target = sys.argv[1], sys.argv[2], int(sys.argv[3]), "".join(sys.argv[4:])
engine = what.split("-")[0]


def duckdb_connection():
    import duckdb

    say.started("duckdb")
    db = duckdb.connect()
    db.execute(f"SET threads = {threads}")
    return db


def duckdb_table():
    kind = "read_parquet" if source.endswith(".parquet") else "read_json"
    more = "" if source.endswith(".parquet") else ", format = 'newline_delimited', columns = {id: 'VARCHAR', text: 'VARCHAR', meta: 'JSON'}"
    return f"{kind}('{source}'{more})"


def duckdb_exact():
    db = duckdb_connection()
    with say.phase("dedup"):
        db.execute(
            f"COPY (SELECT DISTINCT ON (text) * FROM {duckdb_table()}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )


def duckdb_scan():
    db = duckdb_connection()
    with say.phase("scan"):
        rows, size = db.execute(f"SELECT count(*), sum(strlen(text)) FROM {duckdb_table()}").fetchone()
    return {"rows": rows, "bytes": int(size)}


def duckdb_write():
    db = duckdb_connection()
    db.execute(f"CREATE TABLE docs AS SELECT * FROM {duckdb_table()}")
    with say.phase("write"):
        db.execute(f"COPY docs TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


def polars_exact():
    import polars

    say.started("polars")
    with say.phase("dedup"):
        if source.endswith(".parquet"):
            docs = polars.scan_parquet(source)
        else:
            docs = polars.scan_ndjson(source)
        docs.unique(subset="text", keep="first").sink_parquet(target, compression="zstd")


def pyarrow_scan():
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    pyarrow.set_cpu_count(threads)
    say.started("pyarrow")
    rows = size = 0
    with say.phase("scan"):
        file = pyarrow.parquet.ParquetFile(source)
        for batch in file.iter_batches(columns=["text"], use_threads=False):
            rows += len(batch)
            size += pyarrow.compute.sum(pyarrow.compute.binary_length(batch.column(0))).as_py()
    return {"rows": rows, "bytes": size}


def pyarrow_write():
    import orjson
    import pyarrow
    import pyarrow.parquet

    pyarrow.set_cpu_count(threads)
    say.started("pyarrow")
    with open(source, "rb") as lines:
        rows = [orjson.loads(line) for line in lines]
    table = pyarrow.table(
        {
            "id": [r["id"] for r in rows],
            "text": [r["text"] for r in rows],
            "extra": [orjson.dumps({"meta": r["meta"]}).decode() for r in rows],
        }
    )
    del rows
    with say.phase("write"):
        pyarrow.parquet.write_table(table, target, compression="zstd", compression_level=3, write_page_index=True)


say.done(**(globals()[what.replace("-", "_")]() or {}))
