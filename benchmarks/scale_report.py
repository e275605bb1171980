"""What `benchmarks.scale` measured, in words: tables, and whether memory grew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

ALLOWED = 4096
"""Bytes a picture."""

SETTLING = 0.05
"""The allocators of a process of a dozen threads take some tens of megabytes more over its first
thousand pictures, and then no more. Kept pictures would take as much within a hundred."""

FROM = 100
"""The picture from which on memory is not to grow."""

Record = dict[str, object]
"""What was measured at a point."""


def growth(records: Sequence[Record]) -> Iterator[Record]:
    """How memory grew in each task's longest folder, and whether that is too much."""
    tasks = dict.fromkeys(row["task"] for row in records)
    for task in tasks:
        runs = [row for row in records if row["task"] == task and "peak_before" in row]
        if not runs:
            continue
        longest = max(runs, key=lambda row: row["pictures"])
        more, held = longest["pictures"] - FROM, longest["peak_before"]
        grown = longest["peak"] - held
        allowed = max(ALLOWED * more, SETTLING * held)
        yield {
            "task": task,
            "pictures": longest["pictures"],
            "bytes_a_picture": round(grown / more),
            "grown": grown,
            "allowed": round(allowed),
            "flat": grown <= allowed,
        }


def table(records: Sequence[Record], series: str, cell: Callable[[Record], str]) -> str:
    """A series as a table in Markdown: a row a task, a column a value."""
    rows = [row for row in records if row["series"] == series]
    values = sorted({row["value"] for row in rows})
    lines = ["| | " + " | ".join(f"{value:,g}" for value in values) + " |"]
    lines.append("|---" * (1 + len(values)) + "|")
    for task in dict.fromkeys(row["task"] for row in rows):
        own = {row["value"]: row for row in rows if row["task"] == task}
        cells = [cell(own[value]) if value in own else "" for value in values]
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rate_cell(row: Record) -> str:
    """Pictures a second and megabytes: 31 (512 MB); with how many were done, if not all."""
    if "left_out" in row:
        return "–"
    done = f", {row['pictures']:,} done" if row["cut"] else ""
    return f"{significant(1 / row['seconds'])} ({row['peak'] / 1e6:,.0f} MB{done})"


def seconds_cell(row: Record) -> str:
    """Seconds and megabytes: 0.31 s (512 MB)."""
    if "left_out" in row:
        return "–"
    return f"{significant(row['seconds'])} s ({row['peak'] / 1e6:,.0f} MB)"


def start_cell(row: Record) -> str:
    """Seconds."""
    return f"{row['start']:.1f}" if "start" in row else "–"


def significant(number: float) -> str:
    """With two digits, or all that stand before the point."""
    return f"{number:,.0f}" if number >= 9.95 else f"{number:#.2g}"


def print_report(report: Mapping[str, object]) -> None:
    """The tables, and what memory did."""
    records = report["points"]
    print(report["machine"])
    for series, heading, cell in (
        ("counts", "Pictures a second, by the pictures in a folder", rate_cell),
        ("megapixels", "Seconds a picture, by its megapixels", seconds_cell),
        ("counts", "Seconds to the first picture that counts", start_cell),
    ):
        if any(row["series"] == series for row in records):
            print(f"\n{heading}:\n\n{table(records, series, cell)}")
    print()
    for row in report["growth"]:
        print(
            f"{row['task']}: {row['bytes_a_picture']:,} bytes a picture between the {FROM}th and "
            f"the {row['pictures']:,}th, {row['grown'] / 1e6:.1f} MB of {row['allowed'] / 1e6:.1f} "
            f"MB allowed: {'flat' if row['flat'] else 'MEMORY GROWS'}"
        )
    judged = {row["task"] for row in report["growth"]}
    for task in dict.fromkeys(r["task"] for r in records if r["series"] == "counts"):
        if task not in judged:
            print(f"{task}: not judged, as no folder of more than {FROM} pictures was done")
