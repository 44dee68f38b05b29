"""The door: `vergence COMMAND ...`. Parses, calls, turns errors into one line and an exit code. No logic.

0 done · 1 the run failed · 2 the input was wrong. torch is imported only by commands that compute.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vergence import __version__
from vergence.errors import VergenceError
from vergence.terminal import say

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `vergence` command; returns its exit code."""
    options = parser().parse_args(arguments)
    command: Command = options.command
    try:
        command(options)
    except VergenceError as error:
        say(f"vergence: {error}", error=True)
        return error.exit_code
    except KeyboardInterrupt:
        say("vergence: stopped; the same command continues from the last checkpoint", error=True)
        return 1
    except SystemExit as error:  # no command of ours ends in that way: it comes from code that was loaded
        say(
            f"vergence: something that was loaded called sys.exit({error.code!r:.80}) before the command was done; "
            "the same command continues from the last checkpoint",
            error=True,
        )
        return 1
    except Exception as error:  # the last resort: whatever else goes wrong is one line too, and never exit code 0
        if os.environ.get("VERGENCE_TRACEBACK"):
            raise
        reason = " ".join(str(error).split()) or "no message"
        hint = "VERGENCE_TRACEBACK=1 shows where; the same command continues from the last checkpoint"
        say(f"vergence: {type(error).__name__}: {reason[:500]} ({hint})", error=True)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line, whole."""
    top = argparse.ArgumentParser(
        prog="vergence", description="Hybrid reinforcement learning for vision-language models (Skywork R1V2)."
    )
    top.add_argument("--version", action="version", version=f"vergence {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "run the stages of a recipe; run again to continue where it stopped")
    run.add_argument("recipe", metavar="RECIPE", help="a TOML file, or the name of a built-in recipe")
    run.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-seedSEED)")
    _add_set(run)
    run.add_argument("--stop-after", metavar="STAGE", help="stop when this stage is done")
    _add_verbosity(run)
    run.add_argument(
        "--until-input-ends",
        action="store_true",
        help="stop at once when standard input ends, as it does when the program that holds it ends",
    )

    demo = _command(commands, "demo", _demo, "the built-in digits recipe: the whole method, offline, in minutes")
    demo.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: runs/digits-seedSEED)")
    _add_set(demo)
    demo.add_argument("--stop-after", metavar="STAGE", help="stop when this stage is done")
    _add_verbosity(demo)

    study = _command(commands, "study", _study, "run variants of a recipe over seeds and compare them")
    study.add_argument("study", type=Path, metavar="FILE", help="a study file (docs/studies.md)")
    study.add_argument("--out", type=Path, metavar="DIR", help="study directory (default: runs/NAME)")
    study.add_argument("--processes", type=_positive, metavar="N", help="runs at a time (default: one for each core)")
    study.add_argument("--seeds", type=_seeds, default=(), metavar="0,1", help="run only these of the study's seeds")
    only = study.add_mutually_exclusive_group()
    only.add_argument("--plan", action="store_true", help="print what would be run, and run nothing")
    only.add_argument("--table", action="store_true", help="write tables and figures of what is there; run nothing")
    study.add_argument("--quiet", action="store_true", help="print nothing but errors")

    check = _command(commands, "check", _check, "validate a recipe without running anything")
    check.add_argument("recipe", metavar="RECIPE")
    _add_set(check)

    show = _command(commands, "show", _show, "print the resolved recipe, every default written out")
    show.add_argument("recipe", metavar="RECIPE")
    _add_set(show)

    from vergence.commands.assemble_door import add_assemble

    add_assemble(commands, _quieten_threads)

    from vergence.commands.convert_door import add_convert

    add_convert(commands, _quieten_threads)

    from vergence.commands.evaluate_door import add_evaluation

    add_evaluation(commands, _quieten_threads)

    from vergence.commands.data_door import add_data

    add_data(commands, _quieten_threads, _add_set)

    from vergence.commands.grade_door import add_grade

    add_grade(commands)

    from vergence.commands.reward_model_door import add_reward_model

    add_reward_model(commands, _quieten_threads)

    from vergence.commands.sampling_door import add_sampling

    add_sampling(commands, _quieten_threads)

    from vergence.commands.planning_door import add_planning

    add_planning(commands, _quieten_threads, _add_set)

    report = _command(commands, "report", _report, "rebuild the report of a run")
    report.add_argument("run", type=Path, metavar="RUN_DIR")

    chat = _command(commands, "chat", _chat, "answer one question about one picture")
    chat.add_argument("model", type=Path, metavar="MODEL_DIR")
    chat.add_argument("--image", type=Path, required=True, metavar="FILE")
    chat.add_argument("question")
    chat.add_argument("--max-new-tokens", type=_count, default=256, metavar="N")
    chat.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default)")
    chat.add_argument("--seed", type=int, default=0)
    chat.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    return top


def _run(options: argparse.Namespace) -> None:
    from vergence.recipe.load import load_recipe

    recipe = load_recipe(options.recipe, options.set)
    _quieten_threads()
    if options.until_input_ends:
        from vergence.commands.lifeline import stop_with_input

        stop_with_input()
    from vergence.commands.run import run_command

    run_command(recipe, options.out, stop_after=options.stop_after, quiet=options.quiet, verbose=options.verbose)


def _demo(options: argparse.Namespace) -> None:
    options.recipe, options.until_input_ends = "digits", False
    _run(options)


def _study(options: argparse.Namespace) -> None:
    from vergence.study.load import load_study
    from vergence.study.plan import default_directory, make_plan, of_seeds, plan_lines

    study = load_study(options.study)
    plan = make_plan(study, str(options.study))
    jobs = of_seeds(plan, options.seeds)
    if options.plan:
        say("\n".join(plan_lines(plan, jobs)))
        return
    _quieten_threads()
    from vergence.commands.study import study_command

    study_command(
        plan,
        () if options.table else jobs,
        options.out or default_directory(study),
        processes=options.processes,
        quiet=options.quiet,
    )


def _check(options: argparse.Namespace) -> None:
    from vergence.recipe.load import load_recipe

    recipe = load_recipe(options.recipe, options.set)
    from vergence.planning.parts import check_parts

    absent = check_parts(recipe, all_there=False)
    say(f"{options.recipe}: ok, {len(recipe.stage)} stages: {', '.join(stage.label for stage in recipe.stage)}")
    if absent:
        say(f"not there yet, and not looked at: {', '.join(map(str, absent))}")


def _show(options: argparse.Namespace) -> None:
    from vergence.recipe.load import load_recipe, to_toml

    say(to_toml(load_recipe(options.recipe, options.set)), end="")


def _report(options: argparse.Namespace) -> None:
    from vergence.report.page import write_report
    from vergence.run.directory import existing

    directory = existing(options.run)
    write_report(directory)
    say(directory.report)


def _chat(options: argparse.Namespace) -> None:
    _quieten_threads()
    from vergence.commands.chat import chat_command

    chat_command(
        options.model,
        options.image,
        options.question,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        seed=options.seed,
        device=options.device,
    )


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, command: Command, summary: str
) -> argparse.ArgumentParser:
    sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    sub.set_defaults(command=command)
    return sub


def _add_set(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override keys, e.g. --set seed=1 stage.grpo.steps=50; may be repeated",
    )


def _add_verbosity(sub: argparse.ArgumentParser) -> None:
    level = sub.add_mutually_exclusive_group()
    level.add_argument("--quiet", action="store_true", help="print nothing but errors")
    level.add_argument("--verbose", action="store_true", help="print a line every ten steps")


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, found {value}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {value}")
    return value


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_count(part) for part in text.split(",")))


def _quieten_threads() -> None:
    """Waiting OpenMP threads spin for some microseconds, then sleep.

    Spinning on and on is many times slower beside another busy process; never spinning is 1.8 times slower on a quiet
    machine, because the operations of a small model are short. The OpenMP library reads these when it starts, so they
    are set before torch is first imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


if __name__ == "__main__":
    sys.exit(main())
