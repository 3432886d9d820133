"""The commands that every source has: test, sync and run, made from the registry."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from extract.errors import LockHeldError
from extract.secret_files import variables_of
from extract.settings import Settings, given_variables, load_project, load_settings
from tradehouse.output import DONE, PARTIAL, err, out, print_json, print_outcome, progress
from tradehouse.registry import settings_classes, source_module

if TYPE_CHECKING:
    from extract.run import Runner
    from extract.service import Chore
    from extract.source import Outcome

Command = Callable[..., Any]
AS_JSON = "tradehouse.as_json"
"""Where the root context keeps whether the command prints JSON."""

TESTS = click.option("--test", "tests", is_flag=True, help="Build everything of this source and run every dbt test.")


def json_option(help: str) -> Callable[[Any], Any]:
    """The option `--json`. If the command could not run, `tradehouse` prints that as JSON, too."""

    def remember(context: click.Context, _: click.Parameter, given: bool) -> bool:
        context.find_root().meta[AS_JSON] = given
        return given

    return click.option("--json", "as_json", is_flag=True, callback=remember, is_eager=True, help=help)


JSON = json_option("Print a summary as JSON, and nothing else on stdout.")
TEST_EVERY = click.option(
    "--build-every",
    default=60,
    show_default=True,
    type=click.IntRange(0),
    help="Minutes between full builds with every dbt test, which run beside the ticks. 0: never, if another schedule"
    " runs the tests.",
)


def every_option(default: str) -> Callable[[Command], Command]:
    """The option for the seconds between the ticks of a service; `default` is shown in the help."""
    return click.option("--every", type=click.IntRange(1), help=f"Seconds between ticks.  [default: {default}]")


def open_runner(name: str, **options: Any) -> Runner[Any]:
    """A runner of a source by its name.

    Raises:
        SettingsError: a setting is missing or cannot work.
    """
    from extract.run import Runner

    settings, project = load_settings(), load_project()
    source = source_module(name).create(settings, project, **options)
    return Runner(settings, project, source)


def sync_source(name: str, command: str, *, tests: bool, as_json: bool, **options: Any) -> None:
    """Run a source once, print what it did, and exit with its code."""
    with open_runner(name, **options) as runner:
        _warn_of_lookalikes(name)
        try:
            err.print(f"warehouse: {runner.warehouse.description}", markup=False)
            with progress() as report:
                outcome = runner.run(command, tests=tests, progress=report)
        except LockHeldError as held:
            if as_json:
                print_json({"success": True, "skipped": True, "message": str(held)})
            raise
    print_run(outcome, tests=tests, as_json=as_json)
    sys.exit(DONE if outcome.ok else PARTIAL)


def serve_source(
    name: str, command: str, every: int | None, build_every: int, chores: Sequence[Chore] = (), **options: Any
) -> None:
    """Run a source unattended, until SIGTERM."""
    from extract.alerts import Alerts
    from extract.service import Service, serve

    runner = open_runner(name, **options)
    service = Service(
        runner=runner,
        alerts=Alerts(name, runner.settings),
        command=command,
        every=float(every or source_module(name).default_every(runner.settings)),
        test_every=build_every * 60.0,
        chores=chores,
    )
    serve(service, runner.settings.log_level)


def _warn_of_lookalikes(name: str) -> None:
    """Warn of variables that look like settings but are not: a mistyped one would be ignored silently."""
    from extract.environment import lookalikes

    environment = given_variables()
    module = source_module(name)
    # a source may have settings whose names depend on others
    named = module.more_settings() if hasattr(module, "more_settings") else set()
    own = {*variables_of(Settings), *variables_of(module.SETTINGS), *named}
    if lookalikes(environment, own):
        every = own | {name for kind in settings_classes() for name in variables_of(kind)}
        for variable in lookalikes(environment, every):
            err.print(f"warning: {variable} is no setting; docs/settings.md lists them", markup=False)


def check_source(name: str) -> None:
    """Try a source, and print what works."""
    for line in source_module(name).check(load_settings(), load_project()):
        out.print(line, markup=False)


def source_group(name: str, help: str | None = None) -> click.Group:
    """The commands `test`, `sync` and `run` of a source that has no commands of its own.

    Args:
        name: the source's name in the registry.
        help: the help of the group, with an example.
    """

    def test() -> None:
        check_source(name)

    def sync(tests: bool, as_json: bool) -> None:
        sync_source(name, f"{name} sync", tests=tests, as_json=as_json)

    def run(every: int | None, build_every: int) -> None:
        serve_source(name, f"{name} run", every, build_every)

    texts = {
        "test": "Try the source and say what works. Touches no table.",
        "sync": "Run once: land what is new and bring the tables up to date.",
        "run": "Run unattended, on a steady tick, until SIGTERM; every dbt test runs beside the ticks.",
    }
    group = click.Group(name, help=help or f"Keep what comes from {name} current.\n\nExample: tradehouse {name} sync")
    for command in (test, TESTS(JSON(sync)), every_option("the source's own")(TEST_EVERY(run))):
        kind = command.__name__
        group.command(kind, help=f"{texts[kind]}\n\nExample: tradehouse {name} {kind}")(command)
    return group


def print_run(outcome: Outcome[Any], *, tests: bool, as_json: bool) -> None:
    """Print what a run did: its problems, its notes, its counts."""
    for problem in outcome.problems:
        err.print(problem, markup=False)
    for name, message in outcome.transform.warned.items():
        err.print(f"warning: {name}: {message}", markup=False)
    if as_json:
        print_json(outcome.as_dict())
        return
    for note in outcome.reading.notes:
        out.print(note, markup=False)
    print_outcome(outcome, tests=tests)
