"""`make up`: start the stack and leave it up."""

import sys

from pipelines.errors import VitrineError
from stack import services


def main() -> int:
    """Start the stack unless it is up, and print where its UIs are."""
    try:
        installation = services.installed()
        up = services.running(installation)
        if up is not None and up.keeper is not None:
            print(f"`make run` (process {up.keeper}) uses the stack and will stop it; wait for it, then `make up`")
            return 1
        if up is not None:
            print("The stack is already up.")
        else:
            with services.locked(installation):
                up = services.start(installation, None, lambda line: print(line, flush=True))
        print("\n".join(services.addresses(installation, up)))
    except VitrineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
