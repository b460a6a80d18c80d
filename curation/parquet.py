"""A snapshot's rows as Parquet, a chunk of the rows file at a time: pyarrow's door.

A chunk becomes a row group, and the chunks are always cut at the same places, so two writes by one version of pyarrow
are equal byte by byte.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

COLUMNS = ("key", "split", "text", "label", "group")


def schema_of(task_type: str) -> "pyarrow.Schema":
    """The columns of a row as they stand in its line."""
    import pyarrow as pa

    data: dict[str, list[tuple[str, Any]]] = {
        "preference": [("left", pa.string()), ("right", pa.string())],
        "chat": [("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])))]}
    more = [("data", pa.struct(data[task_type]))] if task_type in data else []
    return pa.schema([*((name, pa.string()) for name in COLUMNS), *more])


def write_parquet(chunks: Iterable[tuple[bytes, list[str]]], files: Mapping[str | None, Path], *, task_type: str,
                  about: Mapping[str, str]) -> int:
    """Write rows into Parquet files and return how many there were; tombstones are passed over.

    chunks: whole lines of a rows file, and the hash of each line. files: split → its file; None → that of all splits.
    about: what every file says of itself.
    A thread reads a chunk while the one before it is compressed; both leave Python's lock to others.
    The columns are COLUMNS, those of the task's data, and row_sha256. Compressed by zstd.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    schema, n_rows = schema_of(task_type), 0
    with ExitStack() as stack:
        writers: dict[str | None, Any] = {}
        for table in _ahead(_table(lines, sha256s, schema) for lines, sha256s in chunks):
            n_rows += table.num_rows
            for split in files:
                part = table if split is None else table.filter(pc.equal(table["split"], split))
                if split not in writers:
                    written = part.schema.with_metadata({name.encode(): text.encode() for name, text in about.items()})
                    writers[split] = stack.enter_context(pq.ParquetWriter(
                        files[split], written, compression="zstd", write_statistics=["split"],
                        use_dictionary=["split"]))
                if part.num_rows:
                    writers[split].write_table(part)
        if not writers:
            raise pa.ArrowInvalid("a rows file has at least one line")
    return n_rows


def _ahead(tables: Iterator["pyarrow.Table"]) -> Iterator["pyarrow.Table"]:
    """Yield the tables, while a thread already makes the next one."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, tables, None)
        while (table := following.result()) is not None:
            following = thread.submit(next, tables, None)
            yield table


def _table(chunk: bytes, sha256s: list[str], schema: "pyarrow.Schema") -> "pyarrow.Table":
    """The rows of a chunk as columns, those of the data beside the others."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.json as pj

    table = pj.read_json(pa.BufferReader(chunk), read_options=pj.ReadOptions(block_size=len(chunk), use_threads=False),
                         parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"))
    table = table.append_column("row_sha256", pa.array(sha256s, pa.string()))
    if table["text"].null_count:  # tombstones have none
        table = table.filter(pc.is_valid(table["text"]))
    if "data" in schema.names:
        table = table.flatten()
        table = table.rename_columns([name.removeprefix("data.") for name in table.column_names])
    return table
