"""One reader under atheris, for `fuzz`: `python -m fuzz.worker READER FINDINGS SCRATCH OPTION…`.

What a reader raises that it may not is kept, once for each place that it comes from, and the search
goes on. A hang, and memory beyond the bound, end the process; libFuzzer keeps the input.
"""

from __future__ import annotations

import hashlib
import sys
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["PIL", "atelier", "cartoon", "classify", "detection", "superres", "xml", "zipfile"]
):
    from atelier.errors import AtelierError
    from fuzz.readers import READERS, Reader


class Search:
    """A target that keeps what it finds.

    Args:
        reader: what is searched.
        findings: the folder for it.
        scratch: a folder for what the reader reads.
    """

    def __init__(self, reader: Reader, findings: Path, scratch: Path):
        self.reader, self.findings, self.scratch = reader, findings, scratch
        self.places: set[tuple] = set()

    def __call__(self, data: bytes) -> None:
        try:
            self.reader.read(data, self.scratch)
        except AtelierError as error:
            if "\n" in str(error):
                self._keep(data, error)
        except self.reader.refuses:
            pass
        except BaseException as error:
            self._keep(data, error)

    def _keep(self, data: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        place = (type(error), *((frame.filename, frame.lineno) for frame in frames))
        if place in self.places:
            return
        self.places.add(place)
        name = f"{self.reader.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        (self.findings / name).write_bytes(data)
        said = "".join(traceback.format_exception(error))
        (self.findings / f"{name}.txt").write_text(said, encoding="utf-8", errors="replace")


def main(argv: list[str]) -> None:
    name, findings, top, *options = argv
    corpus, scratch = Path(top) / "corpus", Path(top) / "scratch"
    corpus.mkdir()
    scratch.mkdir()
    for number, seed in enumerate(READERS[name].seeds()):
        (corpus / f"seed-{number:02d}").write_bytes(seed)
    search = Search(READERS[name], Path(findings), scratch)
    atheris.Setup([sys.argv[0], *options, str(corpus)], search)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
