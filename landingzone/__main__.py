"""`python -m landingzone`, and the command `landingzone`."""

import sys


def main() -> None:
    """Run the command line, or say in a sentence that the server is not installed."""
    try:
        from landingzone.cli import main as run  # noqa: PLC0415 - needs the extra `server`
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] in {"landingzone", "keys", "sftpd", "processor"}:
            raise
        sys.exit(
            f"landingzone: The server is not installed here ({missing.name} is missing): "
            "run pip install 'landingzone[server]'. To send files, use landingzone-upload."
        )
    run()


if __name__ == "__main__":
    main()
