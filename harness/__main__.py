"""``python -m harness``, and the script ``bench``."""

import sys

from harness import signals


def main() -> None:
    """Run the command; Ctrl-C is one line from the first moment on."""
    signals.install()
    try:
        from harness.cli import main as command
    except KeyboardInterrupt:
        print(f"error: {signals.description()}", file=sys.stderr)
        raise SystemExit(signals.exit_code()) from None
    command()


if __name__ == "__main__":
    main()
