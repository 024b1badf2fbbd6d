"""Writes the Parquet files of this folder, with pyarrow 26 and DuckDB 2.0."""
import datetime as d, decimal, random
import duckdb
import pyarrow as pa, pyarrow.parquet as pq

D = decimal.Decimal
types = pa.table({
    "s": pa.array(["a", None, "é\n"]), "ls": pa.array(["x", "y", None], pa.large_string()),
    "b": pa.array([b"\x00\xff", None, b""]), "bool": pa.array([True, None, False]),
    "i8": pa.array([-1, None, 127], pa.int8()), "u8": pa.array([255, 0, None], pa.uint8()),
    "u32": pa.array([4294967295, 0, None], pa.uint32()), "u64": pa.array([18446744073709551615, 0, None], pa.uint64()),
    "f16": pa.array([0.1, -65504, None], pa.float16()), "f32": pa.array([0.1, float("nan"), None], pa.float32()),
    "f64": pa.array([0.1, float("inf"), -0.0]),
    "date": pa.array([d.date(2020, 2, 29), d.date(1969, 12, 31), None]),
    "ts_s": pa.array([1, -1, None], pa.timestamp("s")), "ts_ms": pa.array([1, -1, None], pa.timestamp("ms", "UTC")),
    "ts_us": pa.array([1, -1, None], pa.timestamp("us")), "ts_ns": pa.array([1, -1, None], pa.timestamp("ns")),
    "t32": pa.array([1, 86399999, None], pa.time32("ms")), "t64": pa.array([1, 86399999999, None], pa.time64("us")),
    "dec": pa.array([D("1.50"), D("-0.05"), None], pa.decimal128(10, 2)),
    "dec256": pa.array([D("-123456789012345678901234567890123456789012.12"), None, D(0)], pa.decimal256(60, 2)),
    "null": pa.nulls(3), "fsb": pa.array([b"abcd", None, b"\0\0\0\0"], pa.binary(4)),
    "ll": pa.array([[[1, None], []], None, [None, [2]]], pa.list_(pa.list_(pa.int64()))),
    "st": pa.array([{"x": 1, "y": {"z": ["q"]}}, None, {"x": None, "y": None}],
                   pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.list_(pa.string()))]))])),
    "m": pa.array([[("k", 1), ("l", None)], None, []], pa.map_(pa.string(), pa.int64())),
    "mi": pa.array([[(1, "a")], [], None], pa.map_(pa.int64(), pa.string())),
    "twice": pa.array([[("k", 1), ("k", 2)], [], None], pa.map_(pa.string(), pa.int64())),
    "dict": pa.array(["a", "b", "a"]).dictionary_encode(),
})
pq.write_table(types, "types.parquet", compression="zstd")

random.seed(1)
rows = [{
    "id": i, "flag": random.choice([True, False, None]) if i % 90 < 45 else i < 200, "must": i % 64 < 40,
    "text": None if i % 17 == 0 else "tëxt %d " % i * random.randint(0, 3),
    "flags": [random.random() < 0.9 for _ in range(random.randint(0, 12))],
    "p": i / 7, "kind": random.choice(["a", "bb", None]),
} for i in range(400)]
fields = [("id", pa.int64()), ("flag", pa.bool_()), pa.field("must", pa.bool_(), nullable=False), ("text", pa.string()),
          ("flags", pa.list_(pa.bool_())), ("p", pa.float64()), ("kind", pa.string())]
table = pa.Table.from_pylist(rows, schema=pa.schema([pa.field(*f) if isinstance(f, tuple) else f for f in fields]))
delta = {"text": "DELTA_BYTE_ARRAY", "id": "DELTA_BINARY_PACKED", "kind": "DELTA_LENGTH_BYTE_ARRAY", "p": "BYTE_STREAM_SPLIT"}
for name, options in {
    "v1-none": dict(compression="none", write_page_checksum=True),
    "v1-rle-gzip": dict(compression="gzip", use_dictionary=["kind"], column_encoding={k: "RLE" for k in ("flag", "must", "flags.list.element")}),
    "v2-zstd": dict(compression="zstd", data_page_version="2.0", row_group_size=150),
    "v2-lz4": dict(compression="lz4", data_page_version="2.0", data_page_size=512),
    "v2-snappy": dict(compression="snappy", data_page_version="2.0", use_dictionary=False, column_encoding=delta),
    "v1-brotli": dict(compression="brotli"),
}.items():
    pq.write_table(table, name + ".parquet", **options)

duckdb.sql("""create table t as select 'text '||i as text, case when i%3<>0 then i end as n, case when i%5<>0 then i%2=0 end as b,
    'c'||(i%4) as c, case when i%4<>0 then [i, null, i+1] end as l from range(311) r(i)""")
for version in ("v1", "v2"):
    duckdb.sql(f"copy t to 'duckdb-{version}.parquet' (format parquet, compression zstd, parquet_version '{version}')")
