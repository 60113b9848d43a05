"""Fuzz one target, or all, by their coverage (atheris): `python tests/fuzz/run.py TARGET|all [libFuzzer's options]`.

Ends with another code than 0 if something was found; what found it lies in the current folder then (crash-...). Mend
it, and put that file into tests/fuzz/corpus/TARGET under a name that says what it is, so that it stays mended.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Fuzz, until libFuzzer's options say that it is enough."""
    name, *options = sys.argv[1:]
    if name == "all":
        sys.exit(fuzz_all(options))
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    with atheris.instrument_imports(include=["keys", "landingzone", "sftpd", "targets"]):
        from targets import TARGETS

    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder) / "corpus", Path(folder) / "words"
        corpus.mkdir()
        for number, seed in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        kept = HERE / "corpus" / name
        folders = [str(corpus), *([str(kept)] if kept.is_dir() else [])]
        given = [sys.argv[0], *([f"-dict={words}"] if target.words else []), "-max_len=2000", *options, *folders]
        atheris.Setup(given, target.function)
        atheris.Fuzz()


def fuzz_all(options: list[str]) -> int:
    """Fuzz one target after the other; how many found something."""
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    from targets import TARGETS

    return sum(bool(subprocess.call([sys.executable, __file__, name, *options])) for name in TARGETS)


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries want it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    main()
