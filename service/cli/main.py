"""The command `headwater`: which commands there are, and what it ends with.

0 ok; 1 a bug (with its traceback), or the outside world is away; 2 usage; 3 to 8 see
service/errors.py; 130 interrupted. This is the one place where errors become exit codes.
"""

from __future__ import annotations

import os

import typer

from service.cli import (
    api,
    api_worker,
    compile_kernels,
    config,
    demo,
    demo_producer,
    doctor,
    evaluate,
    freeze,
    healthcheck,
    learner,
    machine_code,
    pause,
    probe,
    probe_module,
    promote,
    publish,
    rebuild,
    rollback,
    run,
    snapshots,
    status,
    version,
)
from service.errors import BadSettings, HeadwaterError

COMMANDS = (
    demo,
    demo_producer,
    run,
    learner,
    api,
    api_worker,
    compile_kernels,
    publish,
    evaluate,
    snapshots,
    rollback,
    rebuild,
    probe,
    probe_module,
    pause,
    freeze,
    promote,
    status,
    doctor,
    healthcheck,
    config,
    version,
)
"""In the order that --help shows them."""

app = typer.Typer(
    name="headwater",
    help="Learn from a Kafka topic, event by event, and answer predictions while learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it would print local variables, secrets among them
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in COMMANDS:
    _command.register(app)


def main() -> int:
    """Run one command; return what the process ends with."""
    machine_code.place(os.environ)  # noqa: TID251 - numba's own name, for our children too
    try:
        app(prog_name="headwater")  # also as python -m service
    except BadSettings as error:
        from service.cli.problems import told

        typer.echo(f"headwater: the settings cannot be used.\n{told(error.problems)}", err=True)
        return error.exit_code
    except HeadwaterError as error:
        typer.echo(f"headwater: {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0
