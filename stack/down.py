"""`make down`: end the stack and everything that it started, whoever started it and however it ended."""

import sys

from pipelines.errors import VitrineError
from stack import services


def main() -> int:
    """End all processes and say how many there were."""
    try:
        count = services.stop(services.installed())
    except VitrineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_status
    print(f"Ended {count} processes; nothing is left running." if count else "The stack is not up.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
