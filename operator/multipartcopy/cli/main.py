"""`kubectl multipartcopy`, `kubectl mpc`: from the arguments to an exit status.

An installed `kubectl-multipartcopy` is a plugin of kubectl
(https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/). To start quickly, a command's module,
and with it pykube, rich or boto3, is imported when that command is run and not before.
"""

import importlib
import os
import sys

from multipartcopy.cli.arguments import PROGRAM, parser
from multipartcopy.cli.errors import CliError, Exit


def main(arguments: list[str] | None = None) -> int:
    made = parser()
    if "_ARGCOMPLETE" in os.environ:
        from multipartcopy.cli.completion import answer

        answer(made)
    options = made.parse_args(arguments)
    try:
        command = importlib.import_module(f"multipartcopy.cli.{options.module}")
        return int(command.run(options))
    except CliError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.code
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("multipartcopy"):
            raise
        message = f"it needs {error.name}: pip install 'multipartcopy[cli]'"
        print(f"{PROGRAM}: {message}", file=sys.stderr)
        return Exit.USAGE
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
