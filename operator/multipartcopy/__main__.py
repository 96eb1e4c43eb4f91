"""``multipartcopy operator`` and ``multipartcopy worker``: the two programs of the one image."""

import gc
import os
import sys


def main() -> int:
    if sys.argv[1:] == ["worker"]:
        # Before anything else is imported: pods of small parts do little but start.
        gc.disable()  # What is imported is no garbage.
        from multipartcopy.worker.main import run

        gc.enable()
        run(os.environ)
    from multipartcopy import commands

    return commands.main()


if __name__ == "__main__":
    sys.exit(main())
